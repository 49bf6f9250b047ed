"""An audit's bound is right as often as it says, and tight where it can be; and a wrong mechanism is found out."""

import math

import numpy as np
import pytest
from jax_privacy.auditing import CanaryScoreAuditor, Explicit
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit

from sottovoce.errors import ConfigurationError
from sottovoce.randomness import Randomness
from sottovoce_simulations.attacks import canary_audit as module
from sottovoce_simulations.attacks.canary_audit import audit, largest_auc, one_run, periodic_scores, poisson_scores

CANARIES = 1000
DELTA = 1e-5


def randomised_response(epsilon, delta, generator):
    """The worst (ε, δ)-private mechanism: with chance δ the truth, else the truth at odds of e^ε."""

    def mechanism(included):
        told = np.where(generator.random(len(included)) < expit(epsilon), included, ~included)
        sure = generator.random(len(included)) < delta
        return np.where(sure, 100.0, 1.0) * np.where(np.where(sure, included, told), 1.0, -1.0)

    return mechanism


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 1e-9), (1.0, 1e-9), (2.0, 1e-5), (3.0, 1e-4)])
def test_of_the_worst_mechanism_the_bound_is_tight_and_holds_as_often_as_it_says(epsilon, delta):
    generator, runs = np.random.default_rng(5), 60
    mechanism = randomised_response(epsilon, delta, generator)
    bounds = []
    for _ in range(runs):
        included = generator.random(CANARIES) < 0.5
        bounds.append(one_run(mechanism(included), included, delta).epsilon)
    wrong = sum(bound > epsilon for bound in bounds)
    assert stats.binomtest(wrong, runs, 0.05, alternative="greater").pvalue > 1e-4
    assert np.median(bounds) > epsilon - 0.45
    # The same bound would refute a claim well below: it is no bound that is always 0.
    assert min(bounds) > epsilon / 2 - 0.25


@pytest.mark.parametrize(("guesses", "correct"), [(1000, 1000), (500, 480), (100, 60), (10, 10)])
def test_without_delta_the_bound_is_that_of_the_binomial_distribution(guesses, correct):
    """Proposition 1 of the paper: Pr[correct >= v] <= Pr[Binomial(r, e^ε/(1 + e^ε)) >= v]."""
    significance = 0.05
    sureness = np.concatenate([np.ones(guesses), np.zeros(2000 - guesses)])
    right = np.zeros(2000, dtype=bool)
    right[:correct] = True
    found = module._bound(sureness, right, 1.0, significance, 1e-15)
    exact = brentq(lambda e: stats.binom.sf(correct - 1, guesses, expit(e)) - significance, 0, 20)
    assert found == pytest.approx(exact, abs=1e-4)


def test_guesses_for_one_side_are_those_of_jax_privacy():
    generator = np.random.default_rng(6)
    included = generator.random(CANARIES) < 0.5
    scores = np.abs(generator.normal(size=CANARIES)) + included  # all above 0: every guess is "in"
    threshold = float(np.sort(scores)[-250])
    theirs = CanaryScoreAuditor(scores[included], scores[~included]).epsilon_one_run(
        0.01, DELTA, threshold_strategy=Explicit(threshold)
    )
    assert theirs > 0.1
    assert module._bound(scores, included, threshold, 0.01, DELTA) == pytest.approx(theirs, abs=1e-4)


def test_a_score_that_knows_nothing_shows_nothing():
    generator = np.random.default_rng(7)
    bounds = [
        audit(lambda included: generator.normal(size=len(included)), CANARIES, DELTA, Randomness.system()).epsilon
        for _ in range(60)
    ]
    assert sum(bound > 0.05 for bound in bounds) <= 9
    assert np.median(bounds) == 0


def test_a_mechanism_that_tells_all_is_bounded_by_the_number_of_canaries():
    found = audit(lambda included: np.where(included, 1.0, -1.0), CANARIES, DELTA, Randomness.system())
    assert (found.guesses, found.correct, found.canaries) == (CANARIES, CANARIES, CANARIES)
    # All of m right with probability at most e^−(…): expit(ε)^m = significance.
    significance = 0.05 / len(module.GUESS_SHARES)
    assert found.epsilon == pytest.approx(-math.log(significance ** (-1 / CANARIES) - 1), abs=0.1)
    assert found.membership.auc == 1
    assert found.refutes(5.0)


def test_the_largest_area_is_that_of_the_worst_mechanism():
    generator = np.random.default_rng(8)
    for epsilon, delta in ((0.5, 0.0), (1.0, 0.05), (3.0, 0.2)):
        included = np.arange(200_000) % 2 == 0
        scores = randomised_response(epsilon, delta, generator)(included)
        found = module.membership(-scores[included], -scores[~included])
        assert found.auc == pytest.approx(largest_auc(epsilon, delta), abs=0.005)
    assert largest_auc(0, 0) == 0.5
    assert largest_auc(20, 0) == pytest.approx(1)


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


def test_scores_are_likelihood_ratios():
    generator = np.random.default_rng(9)
    steps, rate, noise = 40, 0.25, 1.3
    values = generator.normal(0.3, noise, size=(steps, 3))
    out = stats.norm(0, noise).pdf(values)
    inside = (1 - rate) * out + rate * stats.norm(1, noise).pdf(values)
    expected = (np.log(inside) - np.log(out)).sum(axis=0)
    assert poisson_scores(values, rate, noise) == pytest.approx(expected)
    always = np.log(stats.norm(1, noise).pdf(values) / out).sum(axis=0)
    assert poisson_scores(values, 1.0, noise) == pytest.approx(always)
    ratios, place = stats.norm(1, noise).pdf(values) / out, np.arange(steps)[:, None] % 4
    places = [np.where(place == one, ratios, 1).prod(axis=0) for one in range(4)]
    assert periodic_scores(values, 4, noise) == pytest.approx(np.log(np.mean(places, axis=0)))
    assert periodic_scores(values[:39], 4, noise) == pytest.approx(periodic_scores(values[:36], 4, noise))
