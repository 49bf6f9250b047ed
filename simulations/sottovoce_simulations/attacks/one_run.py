"""A lower bound on ε from one run of a mechanism, by canaries that a coin puts in or leaves out.

Mahloujifar, Melis & Chaudhuri, "Auditing f-Differential Privacy in One Run" (2024): of many independent coins nobody
guesses more than the trade-off function of a Gaussian mechanism of that (ε, δ) allows. The scoring is `jax-privacy`'s.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError

LEAST_CANARIES = 20
CONFIDENCE = 0.95
GUESS_SHARES = (0.5, 0.25, 0.125)
"""Shares of the canaries that are guessed, the surest first; each is tried, and the significance split between them."""


@dataclass(frozen=True)
class OneRun:
    """What one run showed.

    Args:
        epsilon: lower bound on the mechanism's ε at `delta`; 0 if nothing is shown.
        delta: δ.
        confidence: with at least this probability the bound holds.
        canaries: how many coins were tossed.
        guesses: how many of them were guessed, for this bound.
        correct: how many of the guesses were right.
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
    return OneRun(best[0], delta, confidence, canaries, best[1], best[2])


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
    return float(auditor.epsilon_one_run_fdp(significance, delta, threshold_strategy=Explicit(threshold)))
