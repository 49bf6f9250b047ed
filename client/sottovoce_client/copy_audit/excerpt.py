"""Excerpts: the few seconds of a sample, or of a held-out track, that the audit compares."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce_client.copy_audit.sketch import COLUMN_RATE, FRAME_RATE, Sketch

SECONDS = 4.0
"""Length of an excerpt in seconds: one training segment, the longest passage that a model can memorise."""
LONG_SECONDS = 8.0
"""Length of the second, longer test in seconds: unrelated music is rarely alike for this long, even under noise."""
EVERY = 1.0
"""Hop between the starts of two excerpts in seconds; they overlap, since a copy may begin anywhere."""
COLUMNS, LONG_COLUMNS = round(SECONDS * COLUMN_RATE), round(LONG_SECONDS * COLUMN_RATE)
STRETCHES = (0.95, 1.0, 1.05)
"""Tempo factors that are searched: the length of a copy over that of its original."""


@dataclass(frozen=True)
class Excerpt:
    """`SECONDS` of audio.

    Args:
        times: times of the peaks, in frames from the excerpt's start, int32 `[peaks]`.
        bands: bands of the peaks, uint8 `[peaks]`.
        chroma: the chromagram with each stretch undone, `[len(STRETCHES), COLUMNS, SEMITONES]`, float32.
        long: the same for `LONG_SECONDS`, with `LONG_COLUMNS` columns; None if the audio ends before.
    """

    times: NDArray[np.int32]
    bands: NDArray[np.uint8]
    chroma: NDArray[np.float32]
    long: NDArray[np.float32] | None


def excerpts(sketch: Sketch, start: float = 0.0, seconds: float = math.inf) -> Iterator[Excerpt]:
    """Cut a sketch, or a part of it, into excerpts, one every `EVERY` seconds.

    Args:
        sketch: the sketch of a piece of audio.
        start: start of the part, in seconds.
        seconds: length of the part, in seconds.
    """
    end = min(len(sketch.chroma), (start + seconds) * COLUMN_RATE)
    part = Sketch(sketch.times, sketch.bands, sketch.chroma[: math.ceil(end)])
    for number in range(1 + math.floor((longest_start(part) - start) / EVERY)):
        yield at(part, start + number * EVERY)


def at(sketch: Sketch, seconds: float) -> Excerpt:
    """The excerpt that begins at this point."""
    first = round(seconds * FRAME_RATE)
    low, high = np.searchsorted(sketch.times, [first, first + round(SECONDS * max(STRETCHES) * FRAME_RATE)])
    begin = seconds * COLUMN_RATE
    has_long = begin + LONG_COLUMNS * max(STRETCHES) <= len(sketch.chroma)
    return Excerpt(
        sketch.times[low:high] - np.int32(first),
        sketch.bands[low:high],
        _stretched(sketch.chroma, begin, COLUMNS),
        _stretched(sketch.chroma, begin, LONG_COLUMNS) if has_long else None,
    )


def longest_start(sketch: Sketch) -> float:
    """Start of the last whole excerpt in seconds; negative if the audio is too short for one."""
    return (len(sketch.chroma) - COLUMNS * max(STRETCHES)) / COLUMN_RATE


def _stretched(chroma: NDArray[np.uint8], start: float, columns: int) -> NDArray[np.float32]:
    """Interpolate this number of columns for each of `STRETCHES`, spaced by the stretch."""
    return np.stack([_columns(chroma, start, stretch, columns) for stretch in STRETCHES])


def _columns(chroma: NDArray[np.uint8], start: float, stretch: float, columns: int) -> NDArray[np.float32]:
    places = np.clip(start + stretch * np.arange(columns), 0, len(chroma) - 1)
    before = places.astype(np.int64)
    after = np.minimum(before + 1, len(chroma) - 1)
    weight = (places - before)[:, None].astype(np.float32)
    return np.asarray((1 - weight) * chroma[before] + weight * chroma[after], dtype=np.float32)
