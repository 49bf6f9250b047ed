"""A lower bound on ε from an attack; the accountant must not report less.

The attacker adds up everything published, weighting each event by its information, and decides by a threshold whether
the unit was present. A valid (ε, δ) satisfies TPR <= e^ε · FPR + δ at every threshold, so that

    ε  >=  max over thresholds of  ln((TPR − δ) / FPR).

It shares no code with the accountant. For many small steps, and for Gaussians without sampling, the bound meets the
true ε; for large sampled steps it is lower, down to about a third.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr
from scipy.stats import binom

from sottovoce.errors import UnknownPrivacyEvent
from sottovoce.privacy.events import DiscreteGaussianSum, Event, Gaussian, HeldOutCounts, NonPrivate, PoissonGaussian

THRESHOLDS = 1_000
CELLS = 4_096
"""Cells that the unit's part of the sum is rounded down to, which only weakens the attack."""
RARE = 1e-12
"""Probability mass ignored at either end of the number of steps that sample a unit."""


class _Sums(NamedTuple):
    """All steps of one event, added up."""

    rate: float
    noise: float
    steps: int

    @property
    def weight(self) -> float:
        return self.rate / self.noise**2


def epsilon_lower(events: Iterable[Event], delta: float) -> float:
    """The ε that every valid claim about these events must reach at this δ, in (0, 1); `inf` if one is not private."""
    events = tuple(events)
    if any(isinstance(event, NonPrivate) for event in events):
        return math.inf
    sums = [_sums(event) for event in events]
    if not sums:
        return 0.0
    std = math.sqrt(sum(part.steps * (part.weight * part.noise) ** 2 for part in sums))
    shifts, chances = _shift(sums)
    possible = np.flatnonzero(chances)  # of a single event, one cell for each number of steps
    shifts, chances = shifts[possible] / std, chances[possible]
    thresholds = np.linspace(shifts[0] - 1, shifts[-1] + 7, THRESHOLDS)
    found = np.concatenate([ndtr(shifts - part[:, None]) @ chances for part in np.array_split(thresholds, 20)])
    shown = found > delta
    if not shown.any():
        return 0.0
    return max(0.0, float((np.log(found[shown] - delta) - log_ndtr(-thresholds[shown])).max()))


def _sums(event: Event) -> _Sums:
    match event:
        case PoissonGaussian(rate, noise, steps):
            return _Sums(rate, noise, steps)
        case DiscreteGaussianSum():
            return _Sums(event.sample_rate, event.noise_multiplier, event.steps)
        case Gaussian(noise, count):
            return _Sums(1.0, noise, count)
        case HeldOutCounts() | NonPrivate():
            raise UnknownPrivacyEvent(f"The lower bound does not cover {type(event).__name__}.")


def _shift(sums: Iterable[_Sums]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """What the unit adds to the weighted sum: values in ascending order, and their probabilities, `[values]` each."""
    sums = tuple(sums)
    lows = [int(binom.ppf(RARE, part.steps, part.rate).clip(0)) for part in sums]
    highs = [int(binom.ppf(1 - RARE, part.steps, part.rate)) for part in sums]
    least = sum(part.weight * low for part, low in zip(sums, lows, strict=True))
    cell = sum(part.weight * (high - low) for part, low, high in zip(sums, lows, highs, strict=True)) / CELLS
    chances: NDArray[np.floating] = np.ones(1)
    for part, low, high in zip(sums, lows, highs, strict=True):
        counts = np.arange(low, high + 1)
        places = np.floor(part.weight * (counts - low) / cell).astype(np.int64) if cell else np.zeros(1, np.int64)
        own = np.bincount(places, weights=binom.pmf(counts, part.steps, part.rate))
        chances = np.convolve(chances, own)
    values: NDArray[np.floating] = least + cell * np.arange(len(chances))
    return values, chances
