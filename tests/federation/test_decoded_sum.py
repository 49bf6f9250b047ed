"""What a sum of whole numbers may do to the model: with distributed noise this is the only bound on a lying label."""

import math

import numpy as np
import pytest

from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.protocol.violations import ImplausibleSum
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import CLIPS, BandedFactorisation, DistributedNoise, Unit
from sottovoce.run.decoded_sum import CLIP_STEP, SumDecoder

RUN, PARAMETERS, LABELS, HONEST = bytes(16), 300, 5, 3
CLIP, QUANTILE = 2.0, 0.5


@pytest.fixture
def decoder_of(configured):
    """A decoder, its grid and its configuration."""

    def make(*, unit=Unit.TRACK, clip_quantile=None, stream=None, **changes):
        distributed = DistributedNoise(HONEST, 1.0, 1.0, clip_quantile, stream)
        config = configured(distributed=distributed, unit=unit, local_steps=1, max_grad_norm=CLIP, **changes)
        grid = DistributedDiscreteGaussian.of(config, PARAMETERS, LABELS)
        return SumDecoder(config, grid, RUN), grid, config

    return make


def the_largest_lie(grid, config):
    """The worst that one label can make of a sum of unknown vectors: every number at the ring's end."""
    return np.full(grid.dimension, 2 ** (config.ring_bits - 1) - 1, np.int64)


@pytest.mark.parametrize(
    ("unit", "stream"),
    [(Unit.TRACK, None), (Unit.LABEL, None), (Unit.TRACK, BandedFactorisation(3, (64, 32, 20)))],
    ids=["tracks", "labels", "banded"],
)
def test_a_lying_label_moves_the_model_no_further_than_the_update_clip(decoder_of, unit, stream):
    decoder, grid, config = decoder_of(unit=unit, stream=stream, rounds=4)
    for number in (1, 2, 3, 4):
        sign = (-1) ** number
        moved = decoder.update(sign * the_largest_lie(grid, config), number, LABELS)
        assert np.linalg.norm(moved.astype(np.float64)) == pytest.approx(config.update_clip, rel=1e-5)


@pytest.mark.parametrize("unit", [Unit.TRACK, Unit.LABEL])
def test_what_honest_labels_add_up_to_is_not_shortened(decoder_of, unit):
    """A unit of the vector on the grid is a clip: a batch's mean gradient, or a label's mean update."""
    decoder, grid, _ = decoder_of(unit=unit, update_clip=1e6, learning_rate=0.25, batch_size=10)
    direction = np.random.default_rng(0).standard_normal(PARAMETERS).astype(np.float32)
    direction /= np.linalg.norm(direction)
    rows = np.repeat(direction[None], 4, axis=0)
    signs = grid.signs(RUN, 1)
    total = grid.integers(rows, signs, Randomness.for_simulation(1))
    moved = decoder.update(total, 1, LABELS)
    factor = 4 * CLIP / LABELS if unit is Unit.LABEL else -4 * CLIP * 0.25 / 10
    assert moved == pytest.approx(factor * direction, abs=1e-3 * abs(factor))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_lying_label_moves_the_clip_by_no_more_than_one_step(decoder_of, sign):
    decoder, grid, config = decoder_of(clip_quantile=QUANTILE, rounds=60)
    decoder.update(sign * the_largest_lie(grid, config), 1, LABELS)
    assert decoder.clip == pytest.approx(CLIP * math.exp(-sign * CLIP_STEP))
    for number in range(2, 61):
        decoder.update(sign * the_largest_lie(grid, config), number, LABELS)
    assert CLIPS[0] <= decoder.clip <= CLIPS[1]
    assert decoder.clip in CLIPS


def test_the_clip_falls_where_more_than_the_quantile_is_within_it(decoder_of):
    decoder, grid, _ = decoder_of(clip_quantile=0.75, batch_size=100)
    norms = np.zeros(100, np.float32)  # all are within, a quarter more than should be
    total = np.zeros(grid.dimension, np.int64)
    total[-1] = grid.count_of(norms, CLIP)
    decoder.update(total, 1, LABELS)
    assert decoder.clip == pytest.approx(CLIP * math.exp(-CLIP_STEP * 0.25), rel=1e-2)


def test_nothing_summed_moves_nothing(decoder_of):
    decoder, grid, _ = decoder_of()
    assert not decoder.update(np.zeros(grid.dimension, np.int64), 1, LABELS).any()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_coordinate_beyond_what_honest_labels_can_make_is_refused(decoder_of, sign):
    decoder, grid, _ = decoder_of()
    bound = math.floor(grid.largest_coordinate(LABELS))
    total = np.zeros(grid.dimension, np.int64)
    total[3] = sign * bound
    decoder.check(total, LABELS)
    total[3] += sign
    with pytest.raises(ImplausibleSum):
        decoder.check(total, LABELS)


def test_a_longer_vector_than_honest_labels_can_make_is_refused_where_a_label_is_the_unit(decoder_of):
    of_tracks, of_labels = decoder_of(unit=Unit.TRACK), decoder_of(unit=Unit.LABEL)
    decoder, grid, _ = of_labels
    value = grid.longest(LABELS) / math.sqrt(grid.dimension)
    decoder.check(np.full(grid.dimension, math.floor(value)), LABELS)
    with pytest.raises(ImplausibleSum):
        decoder.check(np.full(grid.dimension, math.ceil(value)), LABELS)
    grid = of_tracks[1]
    value = grid.longest(LABELS) / math.sqrt(grid.dimension)
    of_tracks[0].check(np.full(grid.dimension, math.ceil(value)), LABELS)  # how many units it sums, nobody knows


@pytest.mark.parametrize(("stream", "kept"), [(None, 0), (BandedFactorisation(3, (64, 32, 20)), 2)])
def test_as_many_sums_are_kept_as_later_ones_contain(decoder_of, stream, kept):
    decoder, grid, _ = decoder_of(stream=stream, rounds=4)
    for number in (1, 2, 3, 4):
        decoder.update(np.full(grid.dimension, number, np.int64), number, LABELS)
    assert len(decoder.state()) == 1 + kept


def test_what_was_kept_of_another_run_is_refused(decoder_of):
    stream = BandedFactorisation(3, (64, 32, 20))
    decoder, grid, config = decoder_of(stream=stream, rounds=4)
    decoder.update(np.ones(grid.dimension, np.int64), 1, LABELS)
    kept = decoder.state()
    assert sorted(kept) == ["clip", "earlier.0"]
    again = SumDecoder(config, grid, RUN)
    again.restore(kept)
    assert again.state()["earlier.0"].tolist() == kept["earlier.0"].tolist()
    with pytest.raises(ValueError, match="another run"):
        again.restore({**kept, "earlier.0": kept["earlier.0"][1:]})
