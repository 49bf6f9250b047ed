"""Class balancing from a noisy class histogram; everything computed from it is post-processing and costs nothing."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import PrivacyError
from sottovoce.randomness import Randomness

LARGEST_WEIGHT = 10.0


def main_class(classes: Iterable[int]) -> int:
    """The class that a unit counts for: its most frequent one, or the first among equals.

    An artist with tracks of several styles thus adds 1 to one count, like a track, which bounds its influence.
    """
    values, counts = np.unique(np.fromiter(classes, dtype=np.int64), return_counts=True)
    return int(values[np.argmax(counts)])


def noisy_histogram(
    unit_classes: NDArray[np.int64], classes: int, noise: float, randomness: Randomness
) -> NDArray[np.float64]:
    """Noisy number of units per class: `[classes]`, to be drawn once per run and charged as `Gaussian(noise)`.

    Args:
        unit_classes: one class index per unit, `[units]`; see `main_class`.
        classes: number of classes.
        noise: standard deviation of each count (`PrivacyPlan.histogram_noise`); one unit changes one count by 1.
        randomness: source of the noise.

    Raises:
        PrivacyError: a class index is out of range.
    """
    if unit_classes.size and not 0 <= unit_classes.min() <= unit_classes.max() < classes:
        raise PrivacyError("A unit's class is not among the run's classes.")
    counts = np.bincount(unit_classes, minlength=classes).astype(np.float64)
    noisy: NDArray[np.float64] = counts + randomness.gaussian((classes,), noise).numpy()
    return noisy


def _cleaned(histogram: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Counts that are safe to divide by: a count below the noise's standard deviation carries no information."""
    return np.maximum(histogram, max(noise, 1.0))


def class_weights(histogram: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    """Loss weights that balance the classes: `[classes]`, 1 on average over the units.

    No class weighs more than `LARGEST_WEIGHT` times the lightest. Clipping follows weighting, so weights do not change
    a unit's largest influence.

    Args:
        histogram: result of `noisy_histogram`, `[classes]`.
        noise: standard deviation of its noise.
    """
    counts = _cleaned(histogram, noise)
    weights = np.minimum(counts.max() / counts, LARGEST_WEIGHT)
    scaled: NDArray[np.float64] = weights * counts.sum() / (weights * counts).sum()
    return scaled


def class_rates(
    histogram: NDArray[np.float64], noise: float, *, base_rate: float, largest: float
) -> NDArray[np.float64]:
    """Sampling rates that fill a batch evenly from all classes: `[classes]`, each at most `largest`.

    The expected batch size stays that of the base rate, subject to `largest`: what a class at its limit leaves unused
    goes to the others.

    Args:
        histogram: result of `noisy_histogram`, `[classes]`.
        noise: standard deviation of its noise.
        base_rate: `PrivacyPlan.base_rate`.
        largest: `PrivacyPlan.sample_rate`, which is accounted for.
    """
    counts = _cleaned(histogram, noise)
    rates = np.zeros_like(counts)
    batch, open_ = base_rate * counts.sum(), np.ones(len(counts), dtype=bool)
    while open_.any():
        share = batch / open_.sum()
        full = open_ & (share >= largest * counts)
        if not full.any():
            rates[open_] = share / counts[open_]
            break
        rates[full] = largest
        batch -= largest * counts[full].sum()
        open_ &= ~full
    return np.minimum(rates, largest)
