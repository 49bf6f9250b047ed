"""Blind detection of the watermark, with a measure of certainty.

At each of the 205 possible starts of a period, the pilot's signs are correlated with the levels of its cells: without a
mark, that is a sum of values with signs independent of the music, and its score is standard normal. A mark is found if
the score passes `THRESHOLD` *and* the 16-bit checksum of the decoded payload is right: by chance in less than one of
10⁹ windows; an hour of audio has about 550.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sottovoce.audio.decoding import HIGHEST_RATE
from sottovoce.studio.provenance.watermark import frames as short
from sottovoce.studio.provenance.watermark.pattern import (
    BANDS,
    BINS_PER_BAND,
    CHIPS,
    FIRST_BIN,
    FRAMES,
    FRAMES_PER_CHIP,
    HOP,
    KEY,
    LOWEST_RATE,
    PERIOD_SECONDS,
    RATE,
    WINDOW,
    Pattern,
    pattern,
)
from sottovoce.studio.provenance.watermark.payload import decode, encode

THRESHOLD = 5.0
"""Smallest score of the pilot, in standard deviations."""

EXPECTED_THRESHOLD = 6.0
"""Smallest score of the payload's own cells, in standard deviations, for a known payload without checksum."""

WINDOWS = (2, 8)
"""Lengths, in periods, of the windows examined besides the whole file: only a part may be marked."""

_FLOOR = 1e-5
_CLIP_DB = 3.0
_SMOOTH_FRAMES = 15
_SMOOTH_BANDS = 7
_LEVEL_FRAMES = 21
_QUIETEST_DB2 = 0.05
_HIGHEST = 0.45
"""Highest usable frequency as a share of the sample rate; above it, the resampling filter attenuates."""


@dataclass(frozen=True)
class Mark:
    """A watermark found in audio.

    Args:
        payload: its 6 bytes.
        score: score of the pilot, or of the payload's cells if only these show it: standard deviations above chance.
        start: start of the clearest window, seconds.
        stop: end of the clearest window, seconds.
    """

    payload: bytes
    score: float
    start: float
    stop: float


def find(
    blocks: Iterable[NDArray[np.floating]], sample_rate: int, *, expected: bytes | None = None, key: bytes = KEY
) -> list[Mark]:
    """The marks in audio, clearest first, one for each payload.

    Args:
        blocks: the audio, in pieces `[channels, n]` of any length.
        sample_rate: Hz. Nothing is found below 8,000 and above 768,000.
        expected: a known payload (6 bytes), which is detected at a lower threshold.
        key: key of the pattern.
    """
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        return []
    found: dict[bytes, Mark] = {}
    for window in _windows(periods(blocks, sample_rate)):
        for mark in _read(window, pattern(key), expected):
            if mark.payload not in found or mark.score > found[mark.payload].score:
                found[mark.payload] = mark
    return sorted(found.values(), key=lambda mark: -mark.score)


@dataclass(frozen=True)
class _Window:
    """Some periods, superimposed: `[FRAMES, BANDS]`."""

    levels: NDArray[np.float64]
    start: float
    stop: float


def _windows(pieces: Iterator[NDArray[np.float64]]) -> Iterator[_Window]:
    """The whole file and all windows, from its periods."""
    sums = {size: np.zeros((FRAMES, BANDS)) for size in (*WINDOWS, 0)}
    number = 0
    for number, period in enumerate(pieces, start=1):
        for size, total in sums.items():
            total += period
            if size and number % size == 0:
                yield _Window(total.copy(), (number - size) * PERIOD_SECONDS, number * PERIOD_SECONDS)
                total[:] = 0
    yield _Window(sums[0], 0, number * PERIOD_SECONDS)


def _read(window: _Window, signs: Pattern, expected: bytes | None) -> Iterator[Mark]:
    cells = _cells(window.levels)
    scores = pilot_scores(window.levels, signs)
    best = int(scores.argmax())
    mark = Mark(b"", float(scores[best]), window.start, window.stop)
    if mark.score >= THRESHOLD:
        payload = decode((cells[best] * signs.signs)[signs.data].sum(axis=0))
        if payload is not None:
            yield replace(mark, payload=payload)
            return
    if expected is not None:
        # Without the pilot, which is the same for every release.
        data = signs.data.reshape(-1)
        score = float(_scores(cells[:, data], signs.marked(encode(expected)).reshape(-1)[data]).max())
        if score >= EXPECTED_THRESHOLD:
            yield replace(mark, payload=expected, score=score)


def pilot_scores(levels: NDArray[np.float64], signs: Pattern) -> NDArray[np.float64]:
    """The pilot's score at each possible start of a period, `[FRAMES]`, from levels `[FRAMES, BANDS]`."""
    return _scores(_cells(levels)[:, signs.pilots], signs.signs[signs.pilots])


def _cells(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The levels of all cells for each possible start of a period: `[FRAMES, CHIPS * BANDS]`."""
    starts = np.arange(FRAMES)[:, None] + FRAMES_PER_CHIP // 2 + FRAMES_PER_CHIP * np.arange(CHIPS)
    return levels[starts % FRAMES].reshape(FRAMES, -1)


def _scores(cells: NDArray[np.float64], signs: NDArray[np.int8]) -> NDArray[np.float64]:
    """Correlation of `[places, cells]` with the signs, in standard deviations under independent signs."""
    return (cells @ signs) / np.sqrt((cells**2).sum(axis=1) + 1e-12)


def periods(blocks: Iterable[NDArray[np.floating]], rate: int) -> Iterator[NDArray[np.float64]]:
    """Periods of levels, `[FRAMES, BANDS]` each; the last is padded with zeros."""
    pending = np.zeros((0, BANDS))
    for audio, before, length, _ in short.windows(blocks, rate):
        pending = np.concatenate([pending, _block_levels(audio, rate, before, length)])
        while len(pending) >= FRAMES:
            yield pending[:FRAMES]
            pending = pending[FRAMES:]
    if len(pending):
        yield np.pad(pending, ((0, FRAMES - len(pending)), (0, 0)))


def _block_levels(audio: NDArray[np.floating], rate: int, before: int, length: int) -> NDArray[np.float64]:
    spectra = short.spectra(short.resampled(audio.astype(np.float64), rate, RATE))
    bins = slice(FIRST_BIN, FIRST_BIN + BANDS * BINS_PER_BAND)
    power = (np.abs(spectra[..., bins]) ** 2).sum(axis=0)
    if not power.any():
        power = np.zeros_like(power)
    levels = _whitened(power, usable=min(BANDS, int((_HIGHEST * rate * WINDOW / RATE - FIRST_BIN) / BINS_PER_BAND)))
    first = before * RATE // rate // HOP
    return levels[first : first + -(-length * RATE // rate) // HOP]


def _whitened(power: NDArray[np.float64], usable: int) -> NDArray[np.float64]:
    """Deviation of each band's level from its neighbourhood in time and frequency: `[frames, BANDS]`.

    Cells are weighted by the inverse variance of their neighbourhood, as in a matched filter.
    """
    from scipy.ndimage import uniform_filter1d

    def smoothed(values: NDArray[np.float64], length: int, axis: int) -> NDArray[np.float64]:
        return uniform_filter1d(values, length, axis=axis, mode="nearest")

    levels = np.zeros((len(power), BANDS))
    power = power[:, : usable * BINS_PER_BAND]
    floor = _FLOOR * power.mean() + 1e-30
    decibels = 10 * np.log10(power + floor)
    decibels = np.clip(decibels - smoothed(decibels, _SMOOTH_FRAMES, 0), -_CLIP_DB, _CLIP_DB)
    banded = decibels.reshape(len(power), usable, BINS_PER_BAND).mean(axis=2)
    banded = smoothed(banded - smoothed(banded, _SMOOTH_BANDS, 1), FRAMES_PER_CHIP, 0)
    spread = smoothed(smoothed(banded**2, _LEVEL_FRAMES, 0), 5, 1)
    levels[:, :usable] = banded / (spread + _QUIETEST_DB2)
    return levels
