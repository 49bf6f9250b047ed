"""A lower bound on ε from one run of a mechanism, with canaries included by coin flips.

Mahloujifar, Melis & Chaudhuri, "Auditing f-Differential Privacy in One Run" (2024): the number of correctly guessed
coins is limited by the trade-off function of a Gaussian mechanism with that (ε, δ). The scoring is `jax-privacy`'s.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError

LEAST_CANARIES = 20
CONFIDENCE = 0.95
GUESS_SHARES = (0.5, 0.25, 0.125)
"""Shares of the canaries to guess, most certain first; each is tried, and the significance is split between them."""


@dataclass(frozen=True)
class OneRun:
    """Result of one run.

    Args:
        epsilon: lower bound on the mechanism's ε at `delta`; 0 without evidence.
        delta: δ.
        confidence: probability with which the bound holds, at least.
        canaries: number of canaries.
        guesses: number of guessed coins for this bound.
        correct: number of correct guesses.
    """

    epsilon: float
    delta: float
    confidence: float
    canaries: int
    guesses: int
    correct: int


def one_run(
    scores: NDArray[np.float64], included: NDArray[np.bool_], delta: float, *, confidence: float = CONFIDENCE
) -> OneRun:
    """The lower bound from one run: the coins of the most certain canaries are guessed by the sign of their scores.

    Args:
        scores: score of each canary, `[m]`: positive if it seems to be included; larger magnitudes are more certain.
        included: the coin flips, `[m]`.
        delta: δ, in (0, 1).
        confidence: confidence, in (0, 1).

    Raises:
        ConfigurationError: there are too few canaries, the two lengths differ, a score is not a number, δ or confidence
            is out of range, or `jax-privacy` is not installed.
    """
    canaries = len(scores)
    if canaries != len(included) or min(included.sum(), (~included).sum()) < LEAST_CANARIES // 2:
        raise ConfigurationError(f"An audit needs {LEAST_CANARIES} canaries or more, some in and some out.")
    if np.isnan(scores).any():
        raise ConfigurationError("A canary's score is not a number.")
    if not (0 < delta < 1 and 0 < confidence < 1):
        raise ConfigurationError(f"Expected delta={delta} and confidence={confidence} in (0, 1).")
    sureness, right = np.abs(scores), (scores > 0) == included
    ranked = np.sort(sureness)[::-1]
    best = (0.0, 0, 0)
    for guesses in dict.fromkeys(max(1, round(share * canaries)) for share in GUESS_SHARES):
        threshold = float(ranked[guesses - 1])  # from the scores alone: the coins do not affect the choice
        guessed = sureness >= threshold
        bound = _bound(sureness, right, threshold, (1 - confidence) / len(GUESS_SHARES), delta)
        best = max(best, (bound, int(guessed.sum()), int((guessed & right).sum())))
    return OneRun(best[0], delta, confidence, canaries, best[1], best[2])


def _bound(
    sureness: NDArray[np.float64], right: NDArray[np.bool_], threshold: float, significance: float, delta: float
) -> float:
    """`jax-privacy` counts members above a threshold among all; correct guesses among all guesses are equivalent."""
    try:
        from jax_privacy.auditing import CanaryScoreAuditor, Explicit
    except ImportError:
        raise ConfigurationError(
            "An audit scores with jax-privacy, which is not installed.", hint="Run pip install 'sottovoce[audit]'."
        ) from None
    # It needs some of each; an extra canary that is never guessed does not increase the bound.
    groups = [np.append(sureness[of], -math.inf) for of in (right, ~right)]
    auditor = CanaryScoreAuditor(*groups)
    return float(auditor.epsilon_one_run_fdp(significance, delta, threshold_strategy=Explicit(threshold)))
