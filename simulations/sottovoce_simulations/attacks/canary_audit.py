"""What a mechanism really tells of a unit: a lower bound on its ε from one run, by canaries that a coin puts in or not.

Steinke, Nasr & Jagielski, "Privacy Auditing with One (1) Training Run" (NeurIPS 2023): of an (ε, δ)-private mechanism's
result nobody guesses many independent coins better than randomised response would, so whoever does refutes the claim.
The scoring is that of `jax-privacy`; this module runs mechanisms, guesses for both sides, and scores canaries as a
coordinator could who sees every sum. An audit that refutes nothing proves nothing: it knows one attack.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from sottovoce.errors import ConfigurationError
from sottovoce.randomness import Randomness
from sottovoce_simulations.attacks.membership import Membership, membership

Mechanism = Callable[[NDArray[np.bool_]], NDArray[np.float64]]
"""Runs once with the canaries for which it is given True, and gives each canary's score, those left out too: `[m]`."""

LEAST_CANARIES = 20
CONFIDENCE = 0.95
GUESS_SHARES = (1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125)
"""Shares of the canaries that are guessed, the surest first; each is tried, and the significance split between them."""


@dataclass(frozen=True)
class Audit:
    """What one run showed.

    Args:
        epsilon: lower bound on the mechanism's ε at `delta`; 0 if nothing is shown.
        delta: δ.
        confidence: with at least this probability the bound holds.
        canaries: how many coins were tossed.
        guesses: how many of them were guessed, for this bound.
        correct: how many of the guesses were right.
        membership: the threshold attack on the same scores.
    """

    epsilon: float
    delta: float
    confidence: float
    canaries: int
    guesses: int
    correct: int
    membership: Membership

    def refutes(self, epsilon: float) -> bool:
        """Whether (ε, δ) cannot be kept up: guesses show more, or the threshold attack does better than it allows.

        Of a true claim this says so with probability at most 1 − `confidence`, and 2.5 % for the attack's interval.
        """
        return self.epsilon > epsilon or self.membership.auc_low > largest_auc(epsilon, self.delta)


def audit(
    mechanism: Mechanism, canaries: int, delta: float, randomness: Randomness, *, confidence: float = CONFIDENCE
) -> Audit:
    """Toss a coin for each canary, run the mechanism once, and score.

    Args:
        mechanism: what is audited. Scores must depend on its result only, and 0 is where they say nothing.
        canaries: m, how many units are in or out; what is shown is at most about ln(m/5).
        delta: δ of the claim, well below 1/m.
        randomness: of the coins.
        confidence: chance that the bound holds.
    """
    included = randomness.bernoulli(np.full(canaries, 0.5))
    return one_run(mechanism(included), included, delta, confidence=confidence)


def one_run(
    scores: NDArray[np.float64], included: NDArray[np.bool_], delta: float, *, confidence: float = CONFIDENCE
) -> Audit:
    """The lower bound of one run: the surest canaries are guessed by the sign of their scores.

    Args:
        scores: of each canary, `[m]`: above 0 if it seems to be in, and farther from 0 the surer that is.
        included: the coins, `[m]`.
        delta: δ, in (0, 1).
        confidence: in (0, 1).

    Raises:
        ConfigurationError: there are too few canaries, the two are of different lengths, a score is not a number, δ or
            confidence is out of range, or `jax-privacy` is not installed.
    """
    canaries = len(scores)
    if canaries != len(included) or min(included.sum(), (~included).sum()) < LEAST_CANARIES // 2:
        raise ConfigurationError(f"An audit needs {LEAST_CANARIES} canaries or more, some in and some out.")
    if np.isnan(scores).any():
        raise ConfigurationError("A canary's score is not a number, so that it cannot be compared.")
    if not (0 < delta < 1 and 0 < confidence < 1):
        raise ConfigurationError(f"Expected delta={delta} and confidence={confidence} in (0, 1).")
    sureness, right = np.abs(scores), (scores > 0) == included
    ranked = np.sort(sureness)[::-1]
    best = (0.0, 0, 0)
    for guesses in dict.fromkeys(max(1, round(share * canaries)) for share in GUESS_SHARES):
        threshold = float(ranked[guesses - 1])  # of the scores alone: the coins have no say in what is guessed
        guessed = sureness >= threshold
        bound = _bound(sureness, right, threshold, (1 - confidence) / len(GUESS_SHARES), delta)
        best = max(best, (bound, int(guessed.sum()), int((guessed & right).sum())))
    return Audit(
        epsilon=best[0],
        delta=delta,
        confidence=confidence,
        canaries=canaries,
        guesses=best[1],
        correct=best[2],
        membership=membership(-scores[included], -scores[~included]),
    )


def _bound(
    sureness: NDArray[np.float64], right: NDArray[np.bool_], threshold: float, significance: float, delta: float
) -> float:
    """`jax-privacy` counts members above a threshold among all; right guesses among all guesses are the same count."""
    try:
        from jax_privacy.auditing import CanaryScoreAuditor, Explicit
    except ImportError:
        raise ConfigurationError(
            "An audit scores with jax-privacy, which is not installed.", hint="Run pip install 'sottovoce[audit]'."
        ) from None
    # It wants some of each; one more canary that is never guessed makes the bound no larger.
    groups = [np.append(sureness[of], -math.inf) for of in (right, ~right)]
    auditor = CanaryScoreAuditor(*groups)
    return float(auditor.epsilon_one_run(significance, delta, threshold_strategy=Explicit(threshold)))


def largest_auc(epsilon: float, delta: float) -> float:
    """The largest area under the curve that any attack on an (ε, δ)-private mechanism can expect.

    1 − ∫f for the trade-off f(α) = max(0, 1 − δ − e^ε·α, e^−ε·(1 − δ − α)) (Dong, Roth & Su 2022, section 2).
    """
    return 1 - (1 - delta) ** 2 / (1 + math.exp(epsilon))


def poisson_scores(
    projections: NDArray[np.float64], sample_rate: float, noise_multiplier: float
) -> NDArray[np.float64]:
    """Log-likelihood ratio of being in, for canaries whose clipped gradients are orthogonal: `[m]`.

    No test of a Poisson-subsampled Gaussian sum is stronger than this one (Neyman & Pearson).

    Args:
        projections: what each step's sum holds of each canary's clipped gradient, where 1 is the whole of it,
            `[steps, m]`.
        sample_rate: q.
        noise_multiplier: z, of the noise in a projection.
    """
    present = (projections - 0.5) / noise_multiplier**2
    if sample_rate == 1:
        return np.asarray(present.sum(axis=0))
    return np.asarray(np.logaddexp(math.log1p(-sample_rate), math.log(sample_rate) + present).sum(axis=0))


def periodic_scores(projections: NDArray[np.float64], period: int, noise_multiplier: float) -> NDArray[np.float64]:
    """The same for whoever is drawn once in every `period` steps, at a place that stays unknown: `[m]`.

    This is what a label does that shuffles once and then goes through its tracks batch by batch.

    Args:
        projections: as above, `[steps, m]`; steps beyond the last whole period are left out.
        period: steps of one pass.
        noise_multiplier: z.
    """
    passes = len(projections) // period
    steps = projections[: passes * period].reshape(passes, period, -1)
    present = ((steps - 0.5) / noise_multiplier**2).sum(axis=0)
    return np.asarray(logsumexp(present, axis=0) - math.log(period))
