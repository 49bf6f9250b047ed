"""Tests of noise: their p-values are uniform, or larger, for white noise, and tiny for what is not."""

import numpy as np
import pytest
from scipy import stats

from sottovoce_simulations.attacks import white_noise

TRIALS, ROWS, WIDTH = 300, 6, 200
SELDOM = 1e-6
TESTS = {
    "energy": lambda noise, uniform: white_noise.energy(np.square(noise).sum(axis=1), WIDTH),
    "shape": lambda noise, uniform: white_noise.shape(noise),
    "repeats": lambda noise, uniform: white_noise.repeats(noise[:3], noise[3:]),
    "correlated_coordinates": lambda noise, uniform: white_noise.correlated_coordinates(noise),
    "coincidences": lambda noise, uniform: white_noise.coincidences(
        np.rint(noise.ravel() * 50), lambda value: stats.norm.pdf(value / 50) / 50
    ),
    "two_sided": lambda noise, uniform: white_noise.two_sided(noise),
    "spread": lambda noise, uniform: white_noise.spread((noise > 1).sum(axis=0), ROWS, stats.norm.sf(1), uniform),
    "binomial": lambda noise, uniform: white_noise.binomial((noise > 1).sum(), noise.size, stats.norm.sf(1)),
}


@pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)
def test_p_values_are_uniform_or_larger(test):
    generator = np.random.default_rng()
    values = [test(generator.normal(size=(ROWS, WIDTH)), generator.random(WIDTH)) for _ in range(TRIALS)]
    for level in (0.02, 0.1, 0.3):
        below = int((np.array(values) <= level).sum())
        assert stats.binom.sf(below - 1, TRIALS, level) > SELDOM
    assert min(values) < 0.5, "a test that never says anything is none"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("places", [0, 77])
def test_repeated_noise_is_found_at_any_shift_and_with_any_sign(sign, places):
    noise = np.random.default_rng().normal(size=(3, WIDTH))
    others = np.random.default_rng().normal(size=(2, WIDTH)) + sign * np.roll(noise[1], places)
    assert white_noise.repeats(noise, others) < SELDOM
    noise[2] = sign * np.roll(noise[0], places)
    assert white_noise.repeats(noise, others[:0]) < SELDOM


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.3])
def test_a_copied_coordinate_is_found_up_to_a_factor(factor):
    noise = np.random.default_rng().normal(size=(20, WIDTH))
    assert white_noise.equal_coordinates(noise, 1e-3) == 1
    noise[:, 5] = factor * noise[:, 150]
    assert white_noise.equal_coordinates(noise, 1e-3) < SELDOM


def test_coordinates_without_noise_and_zeros_are_no_copies():
    noise = np.random.default_rng().normal(size=(20, WIDTH))
    noise[:, :2] = 0
    noise[0, 2:4] = 0
    assert white_noise.equal_coordinates(noise, 1e-3) == 1


def test_where_numbers_are_often_equal_a_copy_shows_nothing():
    assert white_noise.equal_coordinates(np.ones((3, WIDTH)), 0.3) == 1


def test_counts_that_are_too_even_or_too_uneven_are_found():
    uniform = np.random.default_rng().random(WIDTH)
    assert white_noise.spread(np.full(WIDTH, 10), 100, 0.1, uniform) < SELDOM
    assert white_noise.spread(np.where(np.arange(WIDTH) % 2, 4, 16), 100, 0.1, uniform) < SELDOM
    assert white_noise.spread(np.full(WIDTH, 100), 100, 1.0, uniform) > SELDOM
    assert white_noise.spread(np.full(WIDTH, 99), 100, 1.0, uniform) == 0
