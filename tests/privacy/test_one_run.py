"""A bound from one run is right as often as it says, and no claim is refuted by a plan that keeps it."""

import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from jax_privacy.auditing import CanaryScoreAuditor, Explicit
from scipy import stats

from sottovoce.errors import ConfigurationError
from sottovoce.privacy.calibration import gaussian_delta, single_noise
from sottovoce_simulations.attacks import one_run as module
from sottovoce_simulations.attacks.one_run import one_run

CANARIES = 400
DELTA = 1e-5


def scores_of(noise_multiplier, generator):
    """Coins, and what a Gaussian mechanism of this noise tells of each."""
    included = generator.random(CANARIES) < 0.5
    return included - 0.5 + generator.normal(scale=noise_multiplier, size=CANARIES), included


def test_a_gaussian_mechanism_is_bounded_from_below_as_often_as_it_says():
    generator, runs, epsilon = np.random.default_rng(5), 6, 4.0
    noise = single_noise(epsilon, DELTA)
    bounds = [one_run(*scores_of(noise, generator), DELTA).epsilon for _ in range(runs)]
    wrong = sum(bound > epsilon for bound in bounds)
    assert stats.binomtest(wrong, runs, 0.05, alternative="greater").pvalue > 1e-4
    assert np.median(bounds) > epsilon / 4


@pytest.mark.parametrize(
    ("sample_rate", "noise_multiplier", "steps"), [(0.1, 1.2, 10), (0.48, 3.64, 150), (1, 4.67, 60)]
)
def test_a_plan_tells_no_more_than_the_gaussian_mechanism_of_its_epsilon(sample_rate, noise_multiplier, steps):
    """`jax-privacy` refutes the trade-off function of a Gaussian mechanism: that of a plan must lie above it."""
    once = privacy_loss_distribution.from_gaussian_mechanism(
        noise_multiplier, sampling_prob=sample_rate, value_discretization_interval=1e-3
    )
    plan = once.self_compose(steps)
    epsilon = plan.get_epsilon_for_delta(DELTA)
    gaussian = single_noise(epsilon, DELTA)
    for smaller in np.linspace(0, epsilon, 30):
        assert plan.get_delta_for_epsilon(smaller) <= gaussian_delta(smaller, gaussian) * (1 + 1e-3)


def test_guesses_for_one_side_are_those_of_jax_privacy():
    generator = np.random.default_rng(6)
    included = generator.random(CANARIES) < 0.5
    scores = np.abs(generator.normal(size=CANARIES)) + included  # all above 0: every guess is "in"
    threshold = float(np.sort(scores)[-100])
    theirs = CanaryScoreAuditor(scores[included], scores[~included]).epsilon_one_run_fdp(
        0.01, DELTA, threshold_strategy=Explicit(threshold)
    )
    assert theirs > 0.1
    assert module._bound(scores, included, threshold, 0.01, DELTA) == pytest.approx(theirs, abs=0.02)


def test_a_score_that_knows_nothing_shows_nothing():
    generator = np.random.default_rng(7)
    included = generator.random(CANARIES) < 0.5
    bounds = [one_run(generator.normal(size=CANARIES), included, DELTA).epsilon for _ in range(10)]
    assert np.median(bounds) == 0


def test_a_mechanism_that_tells_all_is_bounded_by_the_number_of_canaries():
    included = np.arange(CANARIES) % 2 == 0
    found = one_run(np.where(included, 1.0, -1.0), included, DELTA)
    assert (found.guesses, found.correct, found.canaries) == (CANARIES, CANARIES, CANARIES)
    assert found.epsilon > math.log(CANARIES / 5)


@pytest.mark.parametrize(
    ("scores", "included", "options", "message"),
    [
        (np.zeros(10), np.arange(10) < 5, {}, "20 canaries or more"),
        (np.zeros(30), np.arange(31) < 15, {}, "20 canaries or more"),
        (np.zeros(30), np.ones(30, dtype=bool), {}, "20 canaries or more"),
        (np.full(30, np.nan), np.arange(30) < 15, {}, "not a number"),
        (np.zeros(30), np.arange(30) < 15, {"delta": 0.0}, "delta=0"),
        (np.zeros(30), np.arange(30) < 15, {"confidence": 1.0}, "confidence=1"),
    ],
)
def test_what_says_nothing_is_refused(scores, included, options, message):
    with pytest.raises(ConfigurationError, match=message):
        one_run(scores, included, **({"delta": DELTA} | options))


def test_without_the_library_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jax_privacy.auditing", None)
    with pytest.raises(ConfigurationError, match="not installed") as caught:
        one_run(np.zeros(30), np.arange(30) < 15, DELTA)
    assert "sottovoce[audit]" in caught.value.hint
