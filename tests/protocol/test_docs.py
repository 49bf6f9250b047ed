"""docs/protocol.md names every message with its type, every error and every transition."""

from pathlib import Path

import pytest

from sottovoce.federation.identity import Identity
from sottovoce.protocol import messages, violations
from sottovoce.protocol.messages import (
    Ciphertexts,
    CrossCheckSignature,
    Encapsulated,
    Message,
    Preparation,
    Report,
    Shares,
)
from sottovoce.protocol.pair_keys import PairKeys
from sottovoce.protocol.session import Session
from sottovoce.protocol.sharing import REPORT, prepared, share
from sottovoce.protocol.states import TRANSITIONS
from sottovoce.protocol.topology import COMMITTEE, partner_count, share_threshold

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
    assert len(numbered) == 19
    for kind in numbered:
        assert f"| {kind.TYPE} | {kind.__name__} |" in PAGE


def test_every_phase_and_what_it_allows_is_in_the_table() -> None:
    table = PAGE[PAGE.index("## Order") : PAGE.index("## What happens")]
    for phase, row in TRANSITIONS.items():
        assert f"| {phase} |" in table
        assert all(message.__name__ in table for message in row)


def test_the_committees_thresholds_are_true() -> None:
    stated = {129: 43, 200: 67, 515: 93, 1000: 97}
    assert {count: share_threshold(count) for count in stated} == stated
    for count, needed in stated.items():
        assert f"{needed} for {count:,}" in PAGE


def encoded(labels: int) -> dict[str, int]:
    """Bytes that one label sends in a first round with this many members, besides the vector."""
    members = tuple(f"label-{number:03}" for number in range(labels))
    identity = Identity.generate()
    session = Session(bytes(16), bytes(32), members, 3)
    label = session.topology.holders[0]
    pairs = PairKeys(session, label, 1, dict.fromkeys(session.topology.peers(label), bytes(32)))
    following = prepared(pairs, 2, lambda **fields: Preparation.sign(identity, **fields))
    shared = share(pairs, 1, REPORT, bytes(32))
    report = Report.sign(
        identity,
        run=bytes(16),
        round=1,
        request=bytes(32),
        label=label,
        ring_bits=32,
        vector=b"",
        commitment=shared.commitment,
        boxes=shared.boxes,
        following=following,
    )
    shares = Shares.sign(
        identity,
        run=bytes(16),
        round=1,
        survivors_digest=bytes(32),
        label=label,
        values=(bytes(32),) * labels,
        complaints=(),
    )
    signature = CrossCheckSignature(bytes(16), 1, label, bytes(64))
    made = tuple(
        Encapsulated(peer, bytes(1088))
        for peer in session.topology.peers(label)
        if session.topology.encapsulates(label, peer)
    )
    ciphertexts = Ciphertexts.sign(identity, run=bytes(16), session=bytes(32), label=label, ciphertexts=made)
    return {
        "report": len(report.encode()),
        "round": sum(len(message.encode()) for message in (report, signature, shares)),
        "ciphertexts": len(ciphertexts.encode()),
    }


SIZES = {labels: encoded(labels) for labels in (10, 64, 65, 100, 515, 1000)}


@pytest.mark.parametrize("labels", SIZES)
def test_the_stated_size_of_a_report_is_true(labels: int) -> None:
    assert "`341 + 2m + 48p + 160h` bytes" in PAGE
    partners, holders = partner_count(labels), min(labels, COMMITTEE) - 1
    name = len("label-000")
    assert SIZES[labels]["report"] == 341 + 2 * name + 48 * partners + 160 * holders
    assert SIZES[labels]["round"] - SIZES[labels]["report"] == 91 + name + 131 + name + 32 * labels


@pytest.mark.parametrize("row", ["report", "round"])
def test_the_table_of_sizes_is_true(row: str) -> None:
    title = {"report": "report", "round": "report, signature and shares"}[row]
    stated = f"| {title} | " + " | ".join(f"{SIZES[labels][row] / 1000:.1f} kB" for labels in SIZES) + " |"
    assert stated in PAGE


def test_a_round_stays_within_the_bytes_that_were_asked_for() -> None:
    """Shares of one seed a pair took 94 kB at 100 labels, and 1.36 MB at 1,000."""
    assert SIZES[100]["round"] <= 25_000
    assert SIZES[1000]["round"] <= 100_000
