"""The unmasked sum is exactly the plain sum, for any pattern of drop-outs, or the round is aborted."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sottovoce.errors import RoundAborted
from sottovoce.protocol.messages import Kind
from sottovoce.protocol.ring import Ring, RingArray
from sottovoce.protocol.topology import COMMITTEE, threshold
from sottovoce.run.configuration import RING_BITS
from sottovoce_simulations.engine.in_process_rounds import InMemoryRounds
from sottovoce_simulations.engine.label_dropouts import Moment

MOMENTS = (Moment.BEFORE_REPORT, Moment.BEFORE_CROSS_CHECK, Moment.BEFORE_UNMASK)


def random_vectors(table: InMemoryRounds, bits: int, elements: int, seed: int) -> dict[str, RingArray]:
    generator = np.random.default_rng(seed)
    return {
        label: generator.integers(0, 2**bits, elements, np.uint64).astype(Ring(bits).dtype)
        for label in table.participants
    }


def plain_sum(vectors: Mapping[str, RingArray], survivors: tuple[str, ...], bits: int) -> list[int]:
    rows = [vectors[label].astype(object) for label in survivors]
    return [int(value) % 2**bits for value in sum(rows)]


def play(
    table: InMemoryRounds, number: int, bits: int, elements: int, vanished: Mapping[str, Moment], seed: int
) -> None:
    """One round; its sum is exact."""
    vectors = random_vectors(table, bits, elements, seed)
    kept = {label: vector.copy() for label, vector in vectors.items()}
    table.report(table.request(number, elements), vectors, vanished)
    total = table.unmask(vanished)
    gone = {label for label, moment in vanished.items() if moment is Moment.BEFORE_REPORT}
    assert total.survivors == tuple(label for label in sorted(table.participants) if label not in gone)
    assert [int(value) for value in total.vector] == plain_sum(kept, total.survivors, bits)


@given(
    labels=st.integers(3, 12),
    bits=st.sampled_from(RING_BITS),
    cross_check=st.booleans(),
    elements=st.integers(1, 70),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
@settings(max_examples=40)
def test_the_sum_is_exact_or_the_round_is_aborted(
    labels: int, bits: int, cross_check: bool, elements: int, seed: int, data: st.DataObject
) -> None:
    table = InMemoryRounds(labels, ring_bits=bits, cross_check=cross_check)
    table.join()
    names = sorted(table.participants)
    gone = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=labels))
    vanished = {label: data.draw(st.sampled_from(MOMENTS)) for label in gone}
    moments = [moment for moment in vanished.values() if cross_check or moment is not Moment.BEFORE_CROSS_CHECK]
    if len(moments) <= labels - threshold(labels):
        play(table, 1, bits, elements, vanished, seed)
    else:
        with pytest.raises(RoundAborted, match="are needed"):
            play(table, 1, bits, elements, vanished, seed)
    play(table, 2, bits, elements, {}, seed + 1)  # labels that dropped out are back in the next round


def test_rounds_of_both_kinds_follow_each_other() -> None:
    table = InMemoryRounds(5)
    table.join()
    for number, kind in ((1, Kind.TRAIN), (4, Kind.EVALUATE), (5, Kind.TRAIN)):
        vectors = random_vectors(table, 32, 6, number)
        expected = plain_sum(vectors, tuple(table.participants), 32)
        table.report(table.request(number, 6, kind), vectors)
        total = table.unmask()
        assert (total.round, total.kind) == (number, kind)
        assert [int(value) for value in total.vector] == expected


def test_a_round_may_be_given_up_at_any_step_for_a_newer_one() -> None:
    table = InMemoryRounds(4)
    table.join()
    request = table.request(1, 3)
    for participant in table.participants.values():
        participant.accept(request, bytes(32))
    table.report(table.request(2, 3), random_vectors(table, 32, 3, 2))
    table.report(table.request(3, 3), random_vectors(table, 32, 3, 3))
    for label, check in table.aggregator.close_reports().items():
        table.participants[label].cross_check(check)  # type: ignore[arg-type]
    play(table, 4, 32, 3, {}, 4)


def test_only_some_of_the_labels_take_part() -> None:
    table = InMemoryRounds(6)
    table.join(["label-001", "label-003", "label-004", "label-005"])
    play(table, 1, 32, 3, {"label-003": Moment.BEFORE_REPORT}, 1)


@pytest.mark.usefixtures("small_committee")
def test_a_small_committee_and_few_partners_carry_rounds() -> None:
    table = InMemoryRounds(12)
    table.join()
    topology = table.aggregator.session.topology
    assert {len(topology.holders), *(len(topology.partners(label)) for label in topology.members)} == {6, 8}
    gone = topology.holders[:2]
    play(table, 1, 32, 5, {}, 1)
    play(table, 2, 32, 5, dict(zip(gone, MOMENTS, strict=False)), 2)
    play(table, 3, 32, 5, dict.fromkeys(gone, Moment.BEFORE_REPORT), 3)


@pytest.mark.slow
def test_a_committee_and_partners_carry_a_large_round() -> None:
    labels = COMMITTEE + 2
    table = InMemoryRounds(labels, ring_bits=16)
    table.join()
    gone = sorted(table.participants)[5 : 5 + (labels - threshold(labels)) // 2]
    moments = {label: MOMENTS[place % 3] for place, label in enumerate(gone)}
    play(table, 1, 16, 5, moments, 1)


@pytest.mark.usefixtures("small_committee")
def test_large_rounds_end_when_too_few_are_left() -> None:
    table = InMemoryRounds(12)
    table.join()
    gone = dict.fromkeys(sorted(table.participants)[:4], Moment.BEFORE_REPORT)
    with pytest.raises(RoundAborted, match="8 of 12 labels reported; 9 are needed"):
        play(table, 1, 32, 5, gone, 1)


def test_messages_may_come_in_any_order_within_a_step() -> None:
    table = InMemoryRounds(4)
    table.join()
    vectors = random_vectors(table, 32, 3, 1)
    expected = plain_sum(vectors, tuple(table.participants), 32)
    request = table.request(1, 3)
    for label in reversed(table.participants):
        table.participants[label].accept(request, bytes(32))
        table.aggregator.receive(table.participants[label].report(vectors[label]))
    for label, check in reversed(table.aggregator.close_reports().items()):
        table.aggregator.receive(table.participants[label].cross_check(check))  # type: ignore[arg-type]
    for label, unmask in reversed(table.aggregator.close_cross_check().items()):
        table.aggregator.receive(table.participants[label].unmask(unmask))
    assert [int(value) for value in table.aggregator.finish().vector] == expected
