"""Noise has the claimed scale and shape, sampling is Poisson; each test accepts what is right and rejects what is not.

Draws come from the operating system, so that every run of these tests is a new experiment: a right implementation
fails one of them about once in a million runs.
"""

import copy
import math
import os
import pickle

import numpy as np
import pytest
from scipy import stats

from sottovoce.errors import PrivacyError
from sottovoce.randomness import Randomness, SimulationRandomness, SystemRandomness

SELDOM = 1e-6


@pytest.fixture(params=["system", "simulation"])
def randomness(request):
    return (
        Randomness.system() if request.param == "system" else Randomness.for_simulation(int.from_bytes(os.urandom(4)))
    )


def test_gaussian_noise_has_the_claimed_scale_and_no_other(randomness):
    noise = randomness.gaussian((100_000,), 2.5).numpy()
    assert stats.kstest(noise, stats.norm(scale=2.5).cdf).pvalue > SELDOM
    for wrong in (2 / 3, 3 / 2, 0.95, 1.05):
        assert stats.kstest(noise, stats.norm(scale=2.5 * wrong).cdf).pvalue < SELDOM


def test_the_scale_is_right_to_a_half_percent_and_the_tails_are_there():
    noise = Randomness.system().gaussian((2_000_000,), 1.0).double().numpy()
    assert noise.var() == pytest.approx(1, abs=5 * math.sqrt(2 / noise.size))
    for limit in (3.0, 4.0):
        expected = noise.size * 2 * stats.norm.sf(limit)
        beyond = int((np.abs(noise) > limit).sum())
        assert stats.poisson.sf(beyond - 1, expected) > SELDOM
        assert stats.poisson.cdf(beyond, expected) > SELDOM


def test_coordinates_and_calls_are_independent(randomness):
    first, second = (randomness.gaussian((200_000,), 1.0).double().numpy() for _ in range(2))
    for other in (second, np.roll(first, 1), np.roll(first, 1 << 14)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 5 / math.sqrt(first.size)
        # Box-Muller's two halves are uncorrelated but would share a radius: so are the squares looked at.
        assert abs(np.corrcoef(first**2, other**2)[0, 1]) < 5 / math.sqrt(first.size)


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (3, 5), ((1 << 14) + 1,)])
def test_noise_has_the_asked_shape_and_is_never_a_repeat(shape):
    noise = Randomness.system().gaussian(shape, 1.0)
    assert tuple(noise.shape) == shape
    assert noise.isfinite().all()
    assert noise.unique().numel() >= 0.99 * noise.numel()


@pytest.mark.parametrize("std", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_would_protect_nobody_is_refused(randomness, std):
    with pytest.raises(PrivacyError, match="Expected std="):
        randomness.gaussian((3,), std)


def test_poisson_batches_have_binomial_sizes_and_no_fixed_one():
    units, rate, batches = 400, 0.1, 3000
    randomness = Randomness.system()
    sizes = np.array([randomness.bernoulli(np.full(units, rate)).sum() for _ in range(batches)])
    edges = np.arange(26, 56)
    observed = np.histogram(sizes, bins=[-1, *edges, units + 1])[0]
    chances = np.diff(stats.binom.cdf([-2, *(edges - 1), units], units, rate))
    assert stats.chisquare(observed, chances * batches).pvalue > SELDOM
    shuffled = np.full(batches, round(units * rate))  # what drawing a fixed number would give
    assert stats.chisquare(np.histogram(shuffled, bins=[-1, *edges, units + 1])[0], chances * batches).pvalue < SELDOM


def test_every_unit_is_sampled_at_its_own_rate_independently_of_the_others():
    rates = np.array([0.0, 2.0**-10, 0.05, 0.3, 0.5, 0.9, 1.0])
    batches = 40_000
    drawn = Randomness.system().bernoulli(np.tile(rates, (batches, 1)))
    for rate, count in zip(rates, drawn.sum(axis=0), strict=True):
        assert stats.binomtest(int(count), batches, rate).pvalue > SELDOM
    assert not drawn[:, 0].any()
    assert drawn[:, -1].all()
    varied = drawn[:, 2:-1].astype(float)  # of the rarest, few ones in a row are a correlation
    correlations = np.corrcoef(varied, rowvar=False) - np.eye(varied.shape[1])
    assert np.abs(correlations).max() < 5 / math.sqrt(batches)
    again = [np.corrcoef(column[:-1], column[1:])[0, 1] for column in varied.T]  # from one batch to the next
    assert np.abs(again).max() < 5 / math.sqrt(batches)


class Fixed(SystemRandomness):
    """The words that a test gives."""

    def __init__(self, *words: int) -> None:
        super().__init__()
        self.given = np.array(words, dtype=np.uint64)

    def words(self, count):
        return self.given[:count]


def test_rates_are_exact_to_the_last_of_53_bits():
    smallest = 2.0**-53
    lowest, next_one, highest = 0, 1 << 11, 2**64 - 1
    drawn = Fixed(lowest, next_one, lowest, highest, highest).bernoulli(
        np.array([smallest, smallest, 0.0, 1.0, 1.0 - smallest])
    )
    assert drawn.tolist() == [True, False, False, True, False]


def test_extreme_words_make_finite_noise():
    assert Fixed(*[0] * 8).gaussian((1,), 1.0).item() == pytest.approx(math.sqrt(2 * 53 * math.log(2)) * 2)
    assert Fixed(*[2**64 - 1] * 8).gaussian((1,), 1.0).item() == 0


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_a_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(PrivacyError, match="rate is not in"):
        Randomness.system().bernoulli(np.array([0.5, rate]))


def test_integers_are_uniform_below_their_bounds(randomness):
    counts = np.bincount(randomness.integers(7, 70_000), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > SELDOM
    bounds = np.array([1, 2, 3] * 1000)
    drawn = randomness.integers(bounds, 3000)
    assert ((drawn >= 0) & (drawn < bounds)).all()
    assert drawn[2::3].max() == 2


def test_a_seed_repeats_a_simulation_and_the_system_never_repeats():
    def draw(randomness):
        return randomness.gaussian((5,), 1.0).tolist(), randomness.bernoulli(np.full(20, 0.5)).tolist()

    assert draw(Randomness.for_simulation(7)) == draw(Randomness.for_simulation(7))
    assert draw(Randomness.for_simulation(7)) != draw(Randomness.for_simulation(8))
    assert draw(Randomness.system()) != draw(Randomness.system())


def test_randomness_from_a_seed_is_for_simulations_only():
    with pytest.raises(PrivacyError, match="for_simulation"):
        SimulationRandomness(3)
    assert Randomness.for_simulation(3).simulated
    assert not Randomness.system().simulated


def test_global_seeds_and_states_change_nothing():
    import torch

    torch.manual_seed(1)
    np.random.seed(1)
    first = Randomness.system().gaussian((4,), 1.0)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    np.random.seed(1)
    assert not torch.equal(first, Randomness.system().gaussian((4,), 1.0))
    assert torch.equal(torch.manual_seed(1).get_state(), state)


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy, pickle.dumps])
def test_randomness_cannot_be_copied(randomness, copying):
    with pytest.raises(PrivacyError, match="cannot be copied"):
        copying(randomness)


def test_a_fork_draws_other_words_than_its_parent():
    randomness = Randomness.system()
    randomness.words(1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, randomness.words(4).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32) != randomness.words(4).tobytes()
    os.close(reading)
    os.close(writing)


def test_torch_generators_differ():
    randomness = Randomness.system()
    assert randomness.torch_generator().initial_seed() != randomness.torch_generator().initial_seed()


def test_keys_are_replaced(monkeypatch):
    monkeypatch.setattr("sottovoce.randomness.REKEY_BYTES", 1 << 17)
    randomness = Randomness.system()
    used = []
    for _ in range(8):
        randomness.words(8192)  # 64 KiB
        used.append(randomness._keystream)
    assert len(set(map(id, used))) == 4
