"""docs/protocol.md names every message with its type, every error and every transition."""

from pathlib import Path

import numpy as np
import pytest

from sottovoce.protocol import messages, violations
from sottovoce.protocol.messages import Message
from sottovoce.protocol.states import TRANSITIONS
from sottovoce.protocol.topology import share_threshold
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
ERRORS = [
    name
    for name, value in vars(violations).items()
    if isinstance(value, type) and value.__module__ == violations.__name__
]


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_in_the_table(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_every_message_is_in_the_table_under_its_type() -> None:
    kinds = [kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, Message)]
    numbered = [kind for kind in kinds if hasattr(kind, "TYPE")]
    assert len(numbered) == 9
    for kind in numbered:
        assert f"| {kind.TYPE} | {kind.__name__} |" in PAGE


def test_every_phase_and_what_it_allows_is_in_the_table() -> None:
    table = PAGE[PAGE.index("## Order") : PAGE.index("## What happens")]
    for phase, row in TRANSITIONS.items():
        assert f"| {phase} |" in table
        assert all(message.__name__ in table for message in row)


def test_the_committees_thresholds_are_true() -> None:
    stated = {65: 22, 100: 34, 200: 44, 1000: 49}
    assert {count: share_threshold(count) for count in stated} == stated
    for count, needed in stated.items():
        assert f"{needed} for" in PAGE
        assert f"{count:,}" in PAGE


def test_the_stated_size_of_a_report_is_true() -> None:
    assert "`132 + m + (n − 1)(33 + m + 32n)` bytes" in PAGE
    for labels in (3, 10):
        table = InMemoryRounds(labels)
        table.join()
        participant = table.participants["label-000"]
        participant.accept(table.request(1, 8), bytes(32))
        report = participant.report(np.zeros(8, np.uint32))
        name = len("label-000")
        assert len(report.encode()) == 32 + 132 + name + (labels - 1) * (33 + name + 32 * labels)
