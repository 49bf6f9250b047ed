"""Rounding never breaks the clip, sums never wrap, and what goes onto the grid comes back."""

import math
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from sottovoce.errors import ConfigurationError
from sottovoce.privacy import distributed_gaussian as grid_module
from sottovoce.privacy.distributed_gaussian import COARSE, FINE, REACH, DistributedDiscreteGaussian
from sottovoce.privacy.rotation import rotate, rotate_back
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import Kind
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import BandedFactorisation, DistributedNoise

SIZES = st.integers(1, 3000)
SHAPES = st.sampled_from(["dense", "one", "flat"])


@pytest.fixture
def shared_config(config):
    def make(ring_bits=32, rounds=20, **changes):
        distributed = DistributedNoise(**{"min_honest": 3, "noise_multiplier": 2.0, "sample_rate": 0.5, **changes})
        return config.changed(distributed=distributed, local_steps=1, ring_bits=ring_bits, rounds=rounds)

    return make


def a_grid(parameters=100, scale=256, **changes):
    bound = math.floor(grid_module._bound_squared(scale, parameters))
    values = {
        "parameters": parameters, "scale": scale, "norm_squared": bound, "coefficients": (1,), "energy": 1, "rows": 1,
        "variance": 100.0, "sum_bound": 10**9, "quantile": None,
    }  # fmt: skip
    return DistributedDiscreteGaussian(**{**values, **changes})


def unit_vectors(random, rows, parameters):
    drawn = random.standard_normal((rows, parameters)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@settings(max_examples=150)
@given(
    SIZES,
    st.sampled_from([2, 16, 256, 4096, 1 << 20]),
    st.integers(0, 2**32),
    st.sampled_from(["dense", "one", "flat"]),
)
def test_rounding_never_breaks_the_clip(parameters, scale, seed, shape):
    random = np.random.default_rng(seed)
    mechanism = a_grid(parameters, scale)
    vector = unit_vectors(random, 1, parameters)
    if shape == "one":
        vector = np.eye(1, parameters, int(random.integers(parameters)), dtype=np.float32)
    if shape == "flat":
        vector = np.full((1, parameters), 1 / math.sqrt(parameters), np.float32)
    rounded = mechanism.integers(vector, mechanism.signs(b"run", 1), Randomness.for_simulation(seed))
    assert int((rounded.astype(object) ** 2).sum()) <= mechanism.norm_squared


@pytest.mark.parametrize("scale", [4, 64, 4096])
def test_a_longer_vector_than_a_clip_stays_within_the_bound_too(scale):
    """No caller passes one; if one did, it would be shortened, not accepted."""
    mechanism = a_grid(50, scale)
    for length in (1.1, 3.0, 1e6, np.inf, np.nan):
        vector = np.full((1, 50), length / math.sqrt(50), np.float32)
        rounded = mechanism.integers(vector, mechanism.signs(b"run", 1), Randomness.for_simulation(1))
        assert int((rounded**2).sum()) <= mechanism.norm_squared


def test_a_unit_adds_to_a_sum_what_it_would_add_alone():
    """Sums of many rows are sums of rounded rows: nothing is rounded after adding up."""
    mechanism, random = a_grid(300, 64), np.random.default_rng(1)
    rows, signs = unit_vectors(random, 40, 300), mechanism.signs(b"run", 1)
    together = mechanism.integers(rows, signs, Randomness.for_simulation(5))
    source = Randomness.for_simulation(5)
    assert np.array_equal(
        together, mechanism.integers(rows[:1], signs, source) + mechanism.integers(rows[1:], signs, source)
    )


def test_blocks_do_not_change_a_sum(monkeypatch):
    mechanism, rows = a_grid(300, 4096), unit_vectors(np.random.default_rng(1), 40, 300)
    signs = mechanism.signs(b"run", 1)
    whole = mechanism.integers(rows, signs, Randomness.for_simulation(5))
    monkeypatch.setattr(grid_module, "_BLOCK", 700)
    assert np.array_equal(whole, mechanism.integers(rows, signs, Randomness.for_simulation(5)))


def test_rounding_is_right_on_average():
    mechanism, vector = a_grid(7, 8), unit_vectors(np.random.default_rng(0), 1, 7)
    signs = mechanism.signs(b"run", 1)
    many = np.repeat(vector, 40_000, axis=0)
    mean = mechanism.integers(many, signs, Randomness.for_simulation(1)) / len(many)
    back = mechanism.vector(mean, signs)
    assert back == pytest.approx(vector[0], abs=4 * 0.5 / 8 / math.sqrt(len(many)) + 1e-3)


def test_a_rounded_vector_is_as_long_as_the_paper_says():
    """Kairouz, Liu and Steinke 2021, proposition 22, at β = e⁻⁸: √(2 ln 1/β) = 4."""
    assert grid_module._bound_squared(64, 1) == 65**2
    assert grid_module._bound_squared(64, 400) == pytest.approx(64**2 + 100 + 4 * (64 + 10))
    assert grid_module._growth(0, 5) == math.inf


def test_a_vector_that_no_rounding_fits_is_rounded_towards_zero_or_dropped():
    rows, random = np.full((1, 30), 1.9, np.float32), Randomness.for_simulation(1)
    assert np.array_equal(grid_module._rounded(rows, 30, random), np.ones((1, 30)))
    assert not grid_module._rounded(rows, 29, random).any()
    for value in (np.inf, -np.inf, np.nan, 1e30, -1e30):
        assert not grid_module._rounded(np.full((1, 30), value, np.float32), 30, random).any()
    assert grid_module._norms_squared(np.full((1, 4), 1 << 31)) == 2.0**64  # which int64 has no room for


@settings(max_examples=50)
@given(SIZES, st.integers(0, 2**32))
def test_what_goes_onto_the_grid_comes_back(parameters, seed):
    mechanism, rows = a_grid(parameters, 1 << 16), unit_vectors(np.random.default_rng(seed), 3, parameters)
    signs = mechanism.signs(b"run", 3)
    back = mechanism.vector(mechanism.integers(rows, signs, Randomness.for_simulation(seed)).astype(float), signs)
    assert back == pytest.approx(rows.sum(axis=0), abs=1e-3)


@pytest.mark.parametrize("parameters", [4096, 4095, 4097, 6000])
@pytest.mark.parametrize("place", [0, 2000, -16])
def test_rotation_spreads_what_is_concentrated(parameters, place):
    mechanism = a_grid(parameters, 1 << 16)
    vector = np.zeros((1, parameters), np.float32)
    vector[0, place:][:16] = 0.25
    spread = np.abs(mechanism.integers(vector, mechanism.signs(b"run", 1), Randomness.for_simulation(1)))
    assert spread.max() < 8 * mechanism.scale / math.sqrt(parameters)


def test_a_rotation_is_of_one_run_and_round():
    mechanism = a_grid(500)
    assert np.array_equal(mechanism.signs(b"run", 1), mechanism.signs(b"run", 1))
    assert set(np.unique(mechanism.signs(b"run", 1))) == {-1, 1}
    assert 350 < (mechanism.signs(b"run", 1) == mechanism.signs(b"run", 2)).sum() < 650
    assert 350 < (mechanism.signs(b"run", 1) == mechanism.signs(b"nur", 1)).sum() < 650
    mixed = replace(mechanism, coefficients=(4, 2))
    assert np.array_equal(mixed.signs(b"run", 1), mixed.signs(b"run", 2))


@settings(max_examples=200)
@given(st.integers(-(2**40), 2**40), st.integers(-(2**24), 2**24), st.integers(1, 2**30))
def test_cutting_moves_no_two_sums_apart(value, step, bound):
    mechanism = a_grid(1, sum_bound=bound)
    difference = int(mechanism.cut(np.array([value + step]))[0] - mechanism.cut(np.array([value]))[0])
    assert 0 <= difference * (1 if step >= 0 else -1) <= abs(step)


@settings(max_examples=100)
@given(st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=20), st.integers(1, 2**30))
def test_what_is_cut_is_within_the_bound_and_what_is_within_it_stays(values, bound):
    cut = a_grid(len(values), sum_bound=bound).cut(np.array(values)).tolist()
    assert cut == [max(-bound, min(bound, value)) for value in values]


@pytest.mark.parametrize("sign", [1, -1])
def test_labels_whose_sums_are_beyond_all_bounds_wrap_no_ring(shared_config, sign):
    """Without the cut, five labels' sums of 2³⁰ come back with another sign."""
    config, labels = shared_config(), 5
    mechanism = DistributedDiscreteGaussian.of(config, 100, labels)
    layout = VectorLayout.for_round(config, Kind.TRAIN, 100, 0, labels)
    vector = layout.encode(mechanism.cut(np.full(100, sign << 30)), np.empty(0, np.int64))
    total = layout.ring.zeros(layout.elements)
    for _ in range(labels):
        total += vector
    assert (layout.decode(total, labels).integers == sign * labels * mechanism.sum_bound).all()


@settings(max_examples=100)
@given(
    ring=st.sampled_from([16, 24, 32]),
    labels=st.integers(3, 300),
    parameters=st.integers(1, 200_000),
    noise=st.floats(0.3, 300),
    min_honest=st.integers(1, 3),
    quantile=st.sampled_from([None, 0.5]),
    banded=st.sampled_from(
        [None, BandedFactorisation(5, (64, 32, 24)), BandedFactorisation(20, tuple(range(64, 44, -1)))]
    ),
)
def test_no_allowed_setting_wraps(shared_config, ring, labels, parameters, noise, min_honest, quantile, banded):
    """At once: every label's sum at its bound, and every label's noise REACH deviations off, the same way."""
    config = shared_config(
        ring_bits=ring,
        noise_multiplier=noise,
        min_honest=min_honest,
        sample_rate=1.0,
        clip_quantile=None if banded else quantile,
        banded=banded,
    )
    with suppress(ConfigurationError):  # which settings are refused is tested below
        assert_never_wraps(DistributedDiscreteGaussian.of(config, parameters, labels), config, labels)


def assert_never_wraps(mechanism, config, labels):
    ring = config.ring_bits
    row = mechanism.sum_bound * sum(map(abs, mechanism.coefficients)) + math.ceil(REACH * math.sqrt(mechanism.variance))
    assert labels * row < 2 ** (ring - 1)
    most = max(8, config.batch_size) * mechanism.scale
    assert 8 * mechanism.scale <= mechanism.sum_bound <= most
    growth = sum(map(abs, mechanism.coefficients))
    assert mechanism.sum_bound == most or labels * (row + growth) >= 2 ** (ring - 1)  # no room is left unused
    assert mechanism.scale.bit_count() == 1
    assert grid_module._growth(mechanism.scale, mechanism.parameters) <= COARSE
    layout = VectorLayout.for_round(config, Kind.TRAIN, 2, 0, labels)
    for sign in (1, -1):
        vector = layout.encode(np.array([sign * row, 0]), np.empty(0, np.int64))
        total = np.zeros_like(vector)
        for _ in range(labels):
            total += vector
        layout.ring.reduce(total)
        assert layout.decode(total, labels).integers.tolist() == [sign * row * labels, 0]


def test_a_setting_that_could_wrap_is_refused_with_a_way_out(shared_config):
    with pytest.raises(ConfigurationError, match="do not fit a ring of 16 bits") as caught:
        DistributedDiscreteGaussian.of(shared_config(ring_bits=16, noise_multiplier=50.0), 3000, 20)
    assert "ring_bits" in caught.value.hint


def test_a_larger_ring_gives_the_finer_grid(shared_config):
    coarse, fine = (DistributedDiscreteGaussian.of(shared_config(ring_bits=bits), 3000, 5) for bits in (16, 32))
    assert coarse.scale < fine.scale
    assert math.sqrt(coarse.norm_squared) / coarse.scale <= 1.1
    assert math.sqrt(fine.norm_squared) / fine.scale <= 1.001


@pytest.mark.parametrize("parameters", [10, 300, 5_000, 100_000])
def test_the_grid_is_the_coarsest_that_is_fine_enough(shared_config, parameters):
    scale = DistributedDiscreteGaussian.of(shared_config(), parameters, 5).scale
    assert grid_module._growth(scale, parameters) <= FINE < grid_module._growth(scale // 2, parameters)


def test_a_labels_noise_is_its_share_of_what_a_unit_needs(shared_config):
    mechanism = DistributedDiscreteGaussian.of(shared_config(noise_multiplier=3.0, min_honest=2), 1000, 5)
    assert mechanism.variance == 9.0 * mechanism.norm_squared / 2
    assert (mechanism.energy, mechanism.rows) == (1, 1)


@pytest.mark.parametrize("batch_size", [4, 100])
def test_a_label_may_sum_as_many_units_as_a_batch_holds(shared_config, batch_size):
    mechanism = DistributedDiscreteGaussian.of(shared_config().changed(batch_size=batch_size), 1000, 5)
    assert mechanism.sum_bound == max(8, batch_size) * mechanism.scale


def test_local_noise_has_no_grid(config):
    with pytest.raises(ConfigurationError, match="integer grid"):
        DistributedDiscreteGaussian.of(config, 1000, 5)


@pytest.mark.parametrize("survivors", [1, 5])
def test_bounds_on_honest_sums_are_exceeded_with_the_stated_probability(survivors):
    """The published tails of sub-Gaussian numbers and vectors, solved for the probability: 2^-41, twice 2^-40."""
    mechanism = a_grid(300, 64, variance=400.0, sum_bound=900)
    room = mechanism.largest_coordinate(survivors) - survivors * mechanism.sum_bound
    deviation_squared = 400.0 * survivors
    assert room > 0
    assert math.log2(2 * 300) - room**2 / (2 * deviation_squared) / math.log(2) == pytest.approx(-41)
    room = mechanism.longest(survivors) - survivors * math.sqrt(mechanism.norm_squared)
    chance = 41 * math.log(2)
    assert room > 0
    assert room**2 / deviation_squared == pytest.approx(300 + 2 * math.sqrt(300 * chance) + 2 * chance)


def test_a_label_reports_what_all_rounds_weights_may_add_up_to():
    plain, banded = a_grid(300, 64, sum_bound=900), a_grid(300, 64, sum_bound=900, coefficients=(4, -2))
    assert banded.largest_coordinate(5) - plain.largest_coordinate(5) == pytest.approx(5 * 5 * 900)


def test_the_event_says_what_the_noise_is(shared_config):
    config = shared_config()
    mechanism = DistributedDiscreteGaussian.of(config, 1000, 5)
    event = mechanism.event(3, 0.5, 7)
    assert event.noise_multiplier == pytest.approx(2.0)
    assert (event.dimension, event.steps, event.sample_rate) == (1000, 7, 0.5)


def test_turns_are_one_event_over_all_rounds(shared_config):
    config = shared_config(sample_rate=1.0, banded=BandedFactorisation(8, (64, 30, 20)), rounds=20)
    mechanism = DistributedDiscreteGaussian.of(config, 1000, 5)
    event = mechanism.event(3, 1.0, 1)
    assert mechanism.energy == 3 * (64**2 + 30**2 + 20**2)  # a unit takes part in rounds 1, 9, 17
    assert event.noise_multiplier == pytest.approx(2.0)
    assert event.dimension == 20 * 1000


def test_the_count_is_zero_on_average_at_its_quantile(shared_config):
    mechanism = DistributedDiscreteGaussian.of(shared_config(clip_quantile=0.75), 1000, 5)
    norms = np.linspace(0, 1, 1001).astype(np.float32)
    assert abs(mechanism.excess(mechanism.count_of(norms, 0.75))) < 4  # of 1001
    assert mechanism.excess(mechanism.count_of(norms, 1.0)) == pytest.approx(250, abs=1)
    assert mechanism.excess(mechanism.count_of(norms, 0.5)) == pytest.approx(-250, abs=1)
    assert mechanism.dimension == 1001
    assert type(mechanism.count_of(norms, 0.3)) is int
    assert a_grid().count_of(norms, 0.5) == 0


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.8])
def test_the_count_is_part_of_the_norm(shared_config, quantile):
    plain, counting = (
        DistributedDiscreteGaussian.of(shared_config(clip_quantile=q), 1000, 5) for q in (None, quantile)
    )
    values = grid_module._count_values(counting.scale, quantile)
    assert all(type(value) is int for value in values)
    assert counting.norm_squared == plain.norm_squared + max(value**2 for value in values)


def test_a_rotation_is_float32_of_several_rows_and_one_transform_where_that_mixes_all():
    signs = np.ones((2, 8), np.float32)
    assert np.array_equal(rotate(np.eye(8)[:2], signs)[0], np.full(8, 1 / math.sqrt(8), np.float32))
    rows = np.random.default_rng(1).standard_normal((3, 12))
    signs = np.where(np.random.default_rng(2).random((2, 12)) < 0.5, -1, 1).astype(np.float32)
    turned = rotate(rows, signs)
    assert turned.dtype == rotate_back(rows, signs).dtype == np.float32
    assert rotate_back(turned, signs) == pytest.approx(rows, abs=1e-5)


def test_signs_are_uniform():
    bits = (a_grid(10_000).signs(b"run", 9).ravel() + 1) / 2
    assert kstest(np.add.reduceat(bits, range(0, 20_000, 100)), "norm", args=(50, 5)).pvalue > 1e-3
