"""Promise: what is claimed of a sum counts its survivors, and no label that knows its own noise."""

from functools import partial

import numpy as np
import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.protocol.messages import CrossCheckRequest
from sottovoce.protocol.violations import TooFewSurvivors
from sottovoce.run.configuration import Trust
from sottovoce_simulations.engine.in_process_rounds import PARAMETERS_DIGEST


@pytest.mark.parametrize(("labels", "most"), [(3, 2), (5, 2), (10, 4)])
def test_no_agreement_counts_a_curious_label_as_honest(labels, most):
    """Among three labels ε = 7.96 was claimed against a fellow label that knew a third of the noise: 10.19 was true."""
    members = tuple(Member(f"label-{number:02}", bytes([number]) * 32) for number in range(labels))
    agreed = partial(Agreement, "f", bytes(32), members, noise=Trust.DISTRIBUTED)
    agreed(min_honest=most)
    with pytest.raises(ConfigurationError, match=f"may hold only {most} honest ones besides one curious label"):
        agreed(min_honest=most + 1)


def test_no_label_helps_to_open_a_sum_of_fewer_survivors_than_agreed(make_table):
    """Ten labels with n_min = 10 gave sums over seven: participants were counted, and three dropped afterwards."""
    table = make_table(10, n_min=10)
    request = table.request(1, 3)
    for participant in table.participants.values():
        participant.accept(request, PARAMETERS_DIGEST)
        participant.report(np.ones(3, np.uint32))
    for survivors in (7, 9):
        check = CrossCheckRequest(request.run, 1, tuple(table.participants)[:survivors])
        with pytest.raises(TooFewSurvivors, match="10 are needed"):
            table.participants["label-000"].cross_check(check)
    everybody = CrossCheckRequest(request.run, 1, tuple(table.participants))
    assert table.participants["label-000"].cross_check(everybody).label == "label-000"
