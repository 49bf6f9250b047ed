"""Inaudible change of a band's level: the masking model of Johnston (IEEE JSAC 6(2), 1988).

Energy in critical bands is spread over neighbouring bands (Schroeder's function) and lowered by an offset between that
of tones, which mask little, and that of noise, depending on spectral flatness.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from sottovoce.studio.provenance.watermark.pattern import RATE, WINDOW

_TINY = 1e-20
_FLAT_DB = -60.0


def bark(frequency: NDArray[np.floating]) -> NDArray[np.float64]:
    """Critical-band rate of frequencies in Hz (Zwicker and Terhardt, 1980)."""
    return 13 * np.arctan(0.00076 * frequency) + 3.5 * np.arctan((frequency / 7500) ** 2)


@cache
def bands_of(rate: int, size: int) -> NDArray[np.int64]:
    """The critical band of each bin of a real FFT."""
    return bark(np.fft.rfftfreq(size, 1 / rate)).astype(np.int64)


@cache
def _spreading(bands: int) -> NDArray[np.float64]:
    distance = np.arange(bands)[:, None] - np.arange(bands)[None, :] + 0.474
    decibels = 15.81 + 7.5 * distance - 17.5 * np.sqrt(1 + distance**2)
    linear = 10 ** (decibels / 10)
    return linear / linear.sum(axis=1, keepdims=True)


def thresholds(power: NDArray[np.float64], rate: int = RATE, size: int = WINDOW) -> NDArray[np.float64]:
    """Masked threshold of each critical band, `[..., bands]`, for a power spectrum `[..., bins]`."""
    bins = bands_of(rate, size)
    bands = int(bins[-1]) + 1
    energy = in_bands(power, rate, size)
    flatness = 10 * (np.log10(power + _TINY).mean(axis=-1) - np.log10(power.mean(axis=-1) + _TINY))
    tonality = np.clip(flatness / _FLAT_DB, 0, 1)[..., None]
    offset = tonality * (14.5 + np.arange(bands)) + (1 - tonality) * 5.5
    return (energy @ _spreading(bands).T) * 10 ** (-offset / 10)


def in_bands(power: NDArray[np.float64], rate: int = RATE, size: int = WINDOW) -> NDArray[np.float64]:
    """Energy in each critical band, `[..., bands]`, of a power spectrum `[..., bins]`."""
    starts = np.searchsorted(bands_of(rate, size), np.arange(bands_of(rate, size)[-1] + 1))
    return np.add.reduceat(power, starts, axis=-1)


def largest_change(power: NDArray[np.float64], step_db: float) -> NDArray[np.float64]:
    """Largest inaudible relative change of each bin's amplitude: `[..., bins]`, for a power spectrum likewise.

    Changes are limited to `step_db` even if more would be masked.
    """
    allowed = np.sqrt(thresholds(power) / (in_bands(power) + _TINY))
    return np.minimum(allowed, 10 ** (step_db / 20) - 1)[..., bands_of(RATE, WINDOW)]
