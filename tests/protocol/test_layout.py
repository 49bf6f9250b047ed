"""The vector: what goes in comes out, unbiased; a sum never wraps; nothing implausible is believed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError, LocalProtocolError
from sottovoce.protocol.layout import COUNTER_BITS, MOST_QUANTISER_BITS, VectorLayout
from sottovoce.protocol.messages import Kind
from sottovoce.protocol.quantise import CHUNK, Quantiser, norm_of, reach_of
from sottovoce.protocol.ring import Ring
from sottovoce.protocol.violations import ImplausibleSum
from sottovoce.run.configuration import RING_BITS
from sottovoce_simulations.engine.in_process_rounds import plain_config

NONE = np.zeros(0, np.int64)


def update_of(parameters: int, norm: float = 0.5, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).standard_normal(parameters).astype(np.float32)
    return values * np.float32(norm / np.linalg.norm(values))


@pytest.mark.parametrize("bits", RING_BITS)
def test_a_mean_comes_back_within_the_grid(bits: int) -> None:
    labels, parameters = 7, CHUNK + 33
    layout = VectorLayout(parameters, 2, bits, labels, 1.0)
    updates = [update_of(parameters, seed=seed) for seed in range(labels)]
    total = Ring(bits).zeros(layout.elements)
    for number, update in enumerate(updates):
        total += layout.encode(update, np.array([number, 2**40 - 1]))
    decoded = layout.decode(total, labels)
    assert decoded.update is not None
    assert decoded.update.dtype == np.float32
    assert np.abs(decoded.update - np.mean(updates, axis=0)).max() <= layout.quantiser.step + 1e-6
    assert decoded.counters.dtype == np.int64
    assert decoded.counters.tolist() == [21, labels * (2**40 - 1)]
    assert decoded.clipped == 0


@given(
    bits=st.sampled_from(RING_BITS),
    labels=st.integers(1, 256),
    counters=st.lists(st.integers(0, 2**COUNTER_BITS - 1), max_size=5),
    data=st.data(),
)
@settings(max_examples=60)
def test_the_largest_sums_do_not_wrap(bits: int, labels: int, counters: list[int], data: st.DataObject) -> None:
    layout = VectorLayout(3, len(counters), bits, labels, 2.0)
    survivors = data.draw(st.integers(1, labels))
    top = np.full(3, 2.0, np.float32) / np.float32(np.sqrt(3))
    vector = layout.encode(top, np.array(counters, np.int64)).astype(np.uint64)
    largest = vector.copy()
    largest[:3] = layout.quantiser.top
    assert (survivors * largest).max() < 2**bits
    decoded = layout.decode((survivors * vector).astype(Ring(bits).dtype), survivors)
    assert decoded.counters.tolist() == [survivors * counter for counter in counters]
    assert decoded.update is not None
    assert norm_of(decoded.update) <= layout.longest_mean


def test_rounding_is_unbiased_and_zero_stays_zero() -> None:
    quantiser = Quantiser(bits=8, reach=1.0)
    value = np.float32(0.3 * quantiser.step)
    out = np.empty(200_000, np.uint32)
    quantiser.quantise(np.full(out.size, value), 1.0, out)
    ups = out.astype(np.int64) - quantiser.top // 2
    assert set(np.unique(ups)) == {0, 1}
    assert abs(ups.mean() - 0.3) < 6 * np.sqrt(0.3 * 0.7 / out.size)
    quantiser.quantise(np.full(out.size, -value), 1.0, out)
    downs = out.astype(np.int64) - quantiser.top // 2
    assert set(np.unique(downs)) == {-1, 0}
    assert abs(downs.mean() + 0.3) < 6 * np.sqrt(0.3 * 0.7 / out.size)
    quantiser.quantise(np.zeros(out.size, np.float32), 1.0, out)
    assert np.array_equal(quantiser.mean(out, 1), np.zeros(out.size, np.float32))


@pytest.mark.parametrize("bits", [8, 15, MOST_QUANTISER_BITS])
def test_the_grids_ends_are_reached_and_not_passed(bits: int) -> None:
    quantiser = Quantiser(bits=bits, reach=0.25)
    out = np.empty(4, np.uint32)
    quantiser.quantise(np.array([0.25, -0.25, 9.0, -9.0], np.float32), 1.0, out)
    assert out.tolist() == [quantiser.top, 0, quantiser.top, 0]
    assert np.allclose(quantiser.mean(out, 1), [0.25, -0.25, 0.25, -0.25])


def test_the_reach_leaves_room_for_uneven_updates() -> None:
    assert reach_of(3.0, 4) == 3.0
    assert reach_of(3.0, 256) == 3.0
    assert reach_of(3.0, 1024) == 1.5


def test_an_update_is_clipped_and_counted() -> None:
    layout = VectorLayout(1000, 0, 32, 3, 1.0)
    total = layout.encode(update_of(1000, norm=50.0), NONE) + layout.encode(update_of(1000, norm=0.9), NONE)
    decoded = layout.decode(total, 2)
    assert decoded.clipped == 1
    assert decoded.update is not None
    expected = (update_of(1000, norm=1.0) + update_of(1000, norm=0.9)) / 2
    assert np.allclose(decoded.update, expected, atol=2 * layout.quantiser.step)


@pytest.mark.parametrize("bits", RING_BITS)
def test_the_longest_honest_sums_are_never_refused(bits: int) -> None:
    """All labels send the same update, of the largest norm; rounding adds a step in each coordinate at most."""
    for parameters in (1, 7, 1_000, 30_000):
        layout = VectorLayout(parameters, 0, bits, 256, 1.0)
        update = update_of(parameters, norm=3.0)
        total = Ring(bits).zeros(layout.elements)
        for _ in range(5):
            total += layout.encode(update, NONE)
        decoded = layout.decode(total, 5)
        assert decoded.update is not None
        assert norm_of(decoded.update) == pytest.approx(1.0, abs=layout.longest_mean - 1.0)


def test_a_mean_may_be_longer_than_the_clip_by_what_rounding_adds_and_no_more() -> None:
    for bits, parameters in ((16, 400), (24, 10_000), (32, 10_000)):
        layout = VectorLayout(parameters, 0, bits, 50, 2.0)
        assert layout.longest_mean == pytest.approx(2.0 + layout.quantiser.step * np.sqrt(parameters), rel=1e-4)


def test_an_update_exactly_as_long_as_the_clip_is_not_clipped() -> None:
    layout = VectorLayout(4, 0, 32, 3, 1.0)
    assert layout.decode(layout.encode(np.array([1, 0, 0, 0], np.float32), NONE), 1).clipped == 0


def test_the_grid_of_many_parameters_is_as_fine_as_their_spread_allows() -> None:
    """Were it ±clip whatever their number, a mean over 10,000 parameters would be 6 times coarser."""
    assert VectorLayout(10_000, 0, 32, 3, 1.0).quantiser.reach == pytest.approx(16 / 100)
    assert VectorLayout(100, 0, 32, 3, 1.0).quantiser.reach == 1.0


def test_a_norm_is_over_all_numbers_whatever_the_chunks() -> None:
    assert norm_of(np.array([3, 4], np.float32)) == 5.0
    ones = np.ones(CHUNK + 2, np.float32)
    assert norm_of(ones) == pytest.approx(np.sqrt(CHUNK + 2))


@pytest.mark.parametrize("size", [1003, CHUNK + 1003])
def test_squares_are_added_in_the_order_of_the_protocol(size: int) -> None:
    """By halves of a power of two: any other order gives other bits, and labels that could not follow a model."""
    for seed in range(5):
        update = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
        squares = update.astype(np.float64) ** 2
        length = min(CHUNK, 1 << (size - 1).bit_length())
        padded = np.zeros(-(-size // length) * length)
        padded[:size] = squares
        total = np.zeros(length)
        for row in padded.reshape(-1, length):
            total += row
        while total.size > 1:
            total = total[: total.size // 2] + total[total.size // 2 :]
        assert norm_of(update) == float(np.sqrt(total[0]))


def test_whether_a_sum_with_noise_was_clipped_is_not_revealed() -> None:
    """The noise covers the coordinates, and nothing would cover this one bit."""
    layout = VectorLayout(3, 0, 32, 3, 1.0, True)
    for size in (0, 1, 2**30):
        decoded = layout.decode(layout.encode(np.full(3, size, np.int64), NONE), 1)
        assert decoded.clipped == 0
        assert decoded.integers is not None
        assert decoded.integers.tolist() == [size] * 3


@pytest.mark.parametrize(
    ("element", "most"),
    [(0, 2 * (2**14 - 2)), (1, 2 * (2**14 - 1)), (-1, 2)],
    ids=["coordinate", "counter", "clipped"],
)
def test_the_largest_plausible_sum_is_believed_and_one_more_is_not(element: int, most: int) -> None:
    layout = VectorLayout(1, 1, 16, 3, 1.0)
    total = np.zeros(layout.elements, np.uint16)
    total[element] = most
    layout.decode(total, 2)
    total[element] += 1
    with pytest.raises(ImplausibleSum):
        layout.decode(total, 2)


def test_the_largest_plausible_counter_is_believed_and_one_more_is_not() -> None:
    layout = VectorLayout(0, 1, 32, 2, 1.0)
    most = 2 * (2**COUNTER_BITS - 1)
    for value, plausible in ((most, True), (2 * 2**COUNTER_BITS, False)):
        limbs = np.array([value % 2**31, value >> 31, 0], np.uint32)
        if plausible:
            assert layout.decode(limbs, 2).counters.tolist() == [value]
        else:
            with pytest.raises(ImplausibleSum, match="counter"):
                layout.decode(limbs, 2)


def test_a_sum_of_another_length_is_refused() -> None:
    for elements in (5, 7):
        with pytest.raises(LocalProtocolError, match="A sum of"):
            VectorLayout(5, 0, 32, 3, 1.0).decode(np.zeros(elements, np.uint32), 1)


@pytest.mark.parametrize("place", [0, 5, -1])
def test_an_implausible_sum_is_not_believed(place: int) -> None:
    layout = VectorLayout(5, 1, 16, 3, 1.0)
    total = layout.encode(np.zeros(5, np.float32), np.array([1]))
    total[place] = 2**16 - 1
    with pytest.raises(ImplausibleSum):
        layout.decode(total, 1)


def test_a_counter_beyond_its_limbs_is_not_believed() -> None:
    layout = VectorLayout(0, 1, 32, 3, 1.0)
    assert layout.elements == 3
    limbs = np.array([2**30 - 1, 2**30 - 1, 0], np.uint32)
    with pytest.raises(ImplausibleSum, match="counter"):
        layout.decode(limbs, 1)


def test_an_evaluate_round_carries_counters_only() -> None:
    layout = VectorLayout.for_round(plain_config(16), Kind.EVALUATE, 1_000, 3, 5)
    decoded = layout.decode(layout.encode(None, np.array([1, 2, 3])), 1)
    assert layout.parameters == 0
    assert decoded.update is None
    assert decoded.counters.tolist() == [1, 2, 3]
    assert VectorLayout.for_round(plain_config(16), Kind.TRAIN, 1_000, 3, 5).parameters == 1_000


@pytest.mark.parametrize(
    ("bits", "labels", "fits"),
    [(16, 256, True), (16, 257, False), (24, 65_536, True), (24, 65_537, False), (32, 10_000, True)],
)
def test_a_ring_that_is_too_small_is_refused(bits: int, labels: int, fits: bool) -> None:
    if fits:
        layout = VectorLayout(1, 1, bits, labels, 1.0)
        assert layout.quantiser.top * labels < 2**bits
    else:
        with pytest.raises(ConfigurationError, match="are needed") as caught:
            VectorLayout(1, 1, bits, labels, 1.0)
        assert caught.value.hint == "Use a larger ring_bits (24 or 32)."


@pytest.mark.parametrize(
    "changed",
    [
        {"ring_bits": 20},
        {"parameters": -1},
        {"counters": -1},
        {"participants": 0},
        {"update_clip": 0.0},
        {"update_clip": float("inf")},
    ],
)
def test_settings_that_cannot_be_are_refused(changed: dict[str, float]) -> None:
    settings = {"parameters": 1, "counters": 1, "ring_bits": 32, "participants": 3, "update_clip": 1.0, **changed}
    with pytest.raises(ConfigurationError):
        VectorLayout(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(LocalProtocolError, match="finite"):
        VectorLayout(3, 0, 32, 3, 1.0).encode(np.array([0, bad, 0], np.float32), NONE)


@pytest.mark.parametrize(
    ("update", "counters"),
    [
        (np.zeros(4, np.float32), [0]),
        (np.zeros(3, np.float64), [0]),
        (None, [0]),
        (np.zeros(3, np.float32), [0, 0]),
        (np.zeros(3, np.float32), [0.5]),
        (np.zeros(3, np.float32), [-1]),
        (np.zeros(3, np.float32), [2**40]),
    ],
)
def test_what_does_not_fit_the_layout_is_refused(update: NDArray[np.float32] | None, counters: list[float]) -> None:
    with pytest.raises(LocalProtocolError):
        VectorLayout(3, 1, 32, 3, 1.0).encode(update, np.array(counters))


@pytest.mark.parametrize("survivors", [0, 4])
def test_a_sum_of_more_labels_than_take_part_is_refused(survivors: int) -> None:
    with pytest.raises(LocalProtocolError):
        VectorLayout(0, 0, 32, 3, 1.0).decode(np.zeros(1, np.uint32), survivors)
