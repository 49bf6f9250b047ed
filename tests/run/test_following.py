"""A label computes a round's model from what it knows, and refuses data that contradict it: each check at its boundary.

`attacks/test_unfollowed_parameters.py` attacks whole labels.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import Kind
from sottovoce.protocol.session import Session
from sottovoce.protocol.violations import UnfollowedParameters
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import Carried
from sottovoce.run.round_sum import RoundSum
from sottovoce_client.rounds import following
from sottovoce_client.rounds.run_state import Witnessed

sys.path.insert(0, str(Path(__file__).parent))
from followed_paths import KINDS, LABELS, RUN, SIZE, config_of, first_parameters, sum_of

CONFIG = config_of(**KINDS["fedadam"])
SESSION = Session(RUN, bytes(32), tuple("abcde"), n_min=3)  # a round of it needs four survivors
SUMS = {number: sum_of(CONFIG, SIZE, number) for number in (1, 2, 3)}


@pytest.fixture(autouse=True)
def _everything_is_trained(monkeypatch):
    monkeypatch.setattr(following, "trainable_mask", lambda config: np.ones(SIZE, bool))


def model_after(*numbers):
    known = {"run": RUN, "labels": LABELS, "trainable": np.ones(SIZE, bool)}
    model = GlobalModel.start(CONFIG, **known, first=first_parameters())
    for number in numbers:
        model.follow(SUMS[number])
    return model


def as_sent(sums):
    ring = model_after().ring
    return {number: each if isinstance(each, bytes) else each.to_bytes(ring) for number, each in sums.items()}


def followed(number, sums, *, saved=None, first=None, witnessed=None):
    """The model of a round, for a label that has saved a model or is sent the first one."""
    return following.follow(
        None if saved is None else saved.to_bytes(),
        Carried(first, as_sent(sums)),
        number=number,
        config=CONFIG,
        session=SESSION,
        labels=LABELS,
        witnessed=witnessed or {},
    )


def test_from_the_first_parameters_to_the_round():
    assert followed(1, {}, first=first_parameters()).to_bytes() == model_after().to_bytes()
    assert followed(3, SUMS, first=first_parameters()).to_bytes() == model_after(1, 2).to_bytes()


def test_from_where_the_label_was_even_where_it_is_sent_the_first_parameters():
    straight = model_after(1, 2).to_bytes()
    assert followed(3, {2: SUMS[2]}, saved=model_after(1)).to_bytes() == straight
    assert followed(3, SUMS, saved=model_after(1, 2), first=first_parameters()).to_bytes() == straight


def test_what_leads_to_no_model_is_refused():
    with pytest.raises(UnfollowedParameters, match="lacks the run's parameters"):
        followed(1, {})
    with pytest.raises(UnfollowedParameters, match="lacks the sum of round 1"):
        followed(3, {2: SUMS[2]}, first=first_parameters())


def test_sums_of_the_round_itself_and_later_ones_are_not_even_read():
    sums = {**SUMS, 3: b"no sum", 7: b"no sum"}
    assert followed(3, sums, first=first_parameters()).rounds == 2


def test_another_sum_for_a_round_that_was_applied_is_refused():
    saved = model_after(1, 2)
    for number in (1, 2):
        other = replace(SUMS[number], vector=SUMS[number].vector ^ 1)
        with pytest.raises(UnfollowedParameters, match=f"round {number} differs"):
            followed(4, {**SUMS, number: other}, saved=saved)


def test_a_sum_that_the_model_refuses_is_not_followed():
    with pytest.raises(UnfollowedParameters, match="repeats"):
        followed(3, {1: SUMS[1], 2: replace(SUMS[1], round=2)}, first=first_parameters())


@pytest.mark.parametrize(
    ("participants", "survivors", "possible"),
    [(4, 4, True), (5, 4, True), (5, 5, True), (3, 3, False), (5, 3, False), (6, 4, False)],
)
def test_as_many_labels_as_a_round_of_the_run_can_have(participants, survivors, possible):
    zero = VectorLayout.for_round(CONFIG, Kind.TRAIN, SIZE, 0, participants).quantiser.top // 2
    told = RoundSum(1, participants, survivors, np.full(SIZE, survivors * zero, np.uint32))
    if possible:
        assert followed(2, {1: told}, first=first_parameters()).rounds == 1
    else:
        with pytest.raises(UnfollowedParameters, match="is impossible"):
            followed(2, {1: told}, first=first_parameters())


@pytest.mark.parametrize(
    ("seen", "agrees"),
    [
        (Witnessed(5, 4), True),
        (Witnessed(5), True),  # it was asked, and no more
        (Witnessed(4, 4), False),
        (Witnessed(4), False),
        (Witnessed(5, 5), False),
    ],
    ids=str,
)
def test_as_many_labels_as_this_one_saw(seen, agrees):
    if agrees:
        assert followed(2, SUMS, first=first_parameters(), witnessed={1: seen}).rounds == 1
    else:
        with pytest.raises(UnfollowedParameters, match="other participants or survivors"):
            followed(2, SUMS, first=first_parameters(), witnessed={1: seen})


def test_of_an_aborted_round_a_label_may_have_seen_anything():
    aborted = RoundSum.aborted(1, model_after().ring)
    model = followed(2, {1: aborted}, first=first_parameters(), witnessed={1: Witnessed(4, 4)})
    assert (model.rounds, model.digest) == (1, model_after().digest)
