"""Exact tests of noise that should be independent N(0, 1): each gives a p-value for everything that it looks at.

Where a test looks at many things, the smallest p-value is multiplied by their number (Bonferroni), so that a test
whose p-value must be below α alarms with probability α at most.
"""

from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.stats import binom, chi2, kstwo, norm

Noise = NDArray[np.float64]
COLUMN_TOLERANCE = 1e-4
"""Difference of two coordinates' noise, brought to length 1, up to which they count as equal."""


def smallest(p_values: Noise | list[float]) -> float:
    """The p-value of several tests combined."""
    values = np.asarray(p_values, np.float64)
    return float(min(1.0, values.min() * values.size)) if values.size else 1.0


def two_sided(scores: Noise) -> float:
    """The p-value of standard normal scores, in an array of any shape."""
    return smallest(2 * norm.sf(np.abs(scores)).ravel())


def energy(squares: Noise, count: int | Noise, slack: float = 0.0) -> float:
    """Whether sums of `count` squares are χ²-distributed, neither too small nor too large.

    Args:
        squares: the sums, of any shape.
        count: number of squares in each sum.
        slack: additional variance allowed on top of 1.
    """
    small, large = chi2.cdf(squares, count), chi2.sf(np.asarray(squares) / (1 + slack), count)
    return smallest(2 * np.minimum(small, large).ravel())


def shape(noise: Noise) -> float:
    """The Kolmogorov-Smirnov test against N(0, 1)."""
    ranked = np.sort(norm.cdf(noise.ravel()))
    ends = np.arange(len(ranked) + 1) / len(ranked)
    return float(kstwo.sf(max((ends[1:] - ranked).max(), (ranked - ends[:-1]).max()), len(ranked)))


def coincidences(numbers: Noise, mass: Callable[[Noise], Noise]) -> float:
    """Whether equal numbers are more frequent than declared, as on a grid that is too coarse.

    Given the first half of the numbers, each of the second half equals one of them in independent trials.

    Args:
        numbers: independent numbers, `[n]`.
        mass: probability of each number, or an upper bound.
    """
    half = len(numbers) // 2
    known = np.unique(numbers[:half])
    met = int(np.isin(numbers[half:], known).sum())
    return float(binom.sf(met - 1, len(numbers) - half, min(1.0, float(mass(known).sum()))))


def repeats(noise: Noise, others: Noise) -> float:
    """Whether a row contains another's noise, wholly or partly, with either sign and any shift.

    Given one row, its normalised product with another row of noise is N(0, 1), and so is each shifted product.

    Args:
        noise: rows of pure noise, `[rows, d]`.
        others: rows independent of these, `[others, d]`.
    """
    rows = np.concatenate([others, noise])
    spectra = scipy.fft.rfft(noise)
    largest, pairs = 0.0, 0
    for index, row in enumerate(rows):
        left = spectra[max(0, index + 1 - len(others)) :]
        if not len(left) or not (length := np.linalg.norm(row)):
            continue
        products = scipy.fft.irfft(left * scipy.fft.rfft(row / length).conj(), n=len(row))
        largest, pairs = max(largest, float(np.abs(products).max())), pairs + products.size
    return min(1.0, 2 * pairs * float(norm.sf(largest)))


def correlated_coordinates(noise: Noise) -> float:
    """Whether coordinates of a row are correlated at any distance, `[rows, d]`.

    The sum over all rows of a lag's products has the variance rows · d. It is nearly normal: at the threshold of an
    audit of 10,000 numbers its tail is within 15 % of the normal one's.
    """
    rows, width = noise.shape
    power = np.square(np.abs(scipy.fft.rfft(noise))).sum(axis=0)
    products = scipy.fft.irfft(power, n=width)[1 : width // 2] / np.sqrt(rows * width)
    return two_sided(products)


def equal_coordinates(noise: Noise, chance: float) -> float:
    """Whether one coordinate has another's noise in all rows, up to a factor: the probability by chance if so, else 1.

    Args:
        noise: `[rows, d]`.
        chance: probability that two numbers are equal.
    """
    lengths = np.linalg.norm(noise, axis=0)
    columns = noise[:, lengths > 0] / lengths[lengths > 0]
    columns = np.where(columns[0] < 0, -columns, columns)
    columns = columns[:, np.argsort(columns[0])]
    found = (np.abs(np.diff(columns, axis=1)) < COLUMN_TOLERANCE).all(axis=0).any()
    pairs, rows = noise.shape[1] ** 2 / 2, len(noise)
    return min(1.0, pairs * chance ** (rows - 1)) if found else 1.0


def binomial(count: int, trials: int, rate: float) -> float:
    """Whether a count is binomial, neither too small nor too large."""
    return float(min(1.0, 2 * binom.cdf(count, trials, rate), 2 * binom.sf(count - 1, trials, rate)))


def spread(counts: NDArray[np.int64], trials: int, rate: float, uniform: Noise) -> float:
    """Whether independent counts have the spread of binomial ones, neither smaller nor larger.

    A count with a uniform number between its cumulative probability and that of one less is exactly uniform, and its
    normal score exactly normal, so the sum of squares is χ².

    Args:
        counts: `[n]`.
        trials: trials of each count.
        rate: probability of each trial.
        uniform: independent uniform numbers, `[n]`.
    """
    chances = binom.cdf(counts - 1, trials, rate) + uniform * binom.pmf(counts, trials, rate)
    return energy(np.square(norm.ppf(chances)).sum(), len(counts))
