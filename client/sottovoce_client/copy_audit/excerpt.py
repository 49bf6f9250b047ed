"""What is compared: a few seconds of a sample, or of a held-out track."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce_client.copy_audit.sketch import COLUMN_RATE, FRAME_RATE, Sketch

SECONDS = 4.0
"""As a segment that models are trained on: what they know by heart is no longer than that."""
LONG_SECONDS = 8.0
"""A second, longer look: little music is like another's for so long, even under noise."""
EVERY = 1.0
"""Seconds from the start of an excerpt to that of the next one: what was copied is seldom cut where ours begin."""
COLUMNS, LONG_COLUMNS = round(SECONDS * COLUMN_RATE), round(LONG_SECONDS * COLUMN_RATE)
STRETCHES = (0.95, 1.0, 1.05)
"""By how much longer a copy may be than what it was copied from."""


@dataclass(frozen=True)
class Excerpt:
    """`SECONDS` of audio.

    Args:
        times: of its peaks, in frames from its start, int32 `[peaks]`.
        bands: of its peaks, uint8 `[peaks]`.
        chroma: what it would be, were it so many times shorter: `[len(STRETCHES), COLUMNS, SEMITONES]`, float32.
        long: the same of `LONG_SECONDS` that begin there, `LONG_COLUMNS` columns; None where the audio ends before.
    """

    times: NDArray[np.int32]
    bands: NDArray[np.uint8]
    chroma: NDArray[np.float32]
    long: NDArray[np.float32] | None


def excerpts(sketch: Sketch, start: float = 0.0, seconds: float = math.inf) -> Iterator[Excerpt]:
    """All of a sketch, or of a part of it, one every `EVERY` seconds.

    Args:
        sketch: of a piece of audio.
        start: seconds at which the part begins.
        seconds: how long it is.
    """
    end = min(len(sketch.chroma), (start + seconds) * COLUMN_RATE)
    part = Sketch(sketch.times, sketch.bands, sketch.chroma[: math.ceil(end)])
    for number in range(1 + math.floor((longest_start(part) - start) / EVERY)):
        yield at(part, start + number * EVERY)


def at(sketch: Sketch, seconds: float) -> Excerpt:
    """The excerpt that begins there."""
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
    """Seconds at which the last whole excerpt begins; negative where there is none."""
    return (len(sketch.chroma) - COLUMNS * max(STRETCHES)) / COLUMN_RATE


def _stretched(chroma: NDArray[np.uint8], start: float, columns: int) -> NDArray[np.float32]:
    """So many columns for each of `STRETCHES`, as far apart, between those that there are."""
    return np.stack([_columns(chroma, start, stretch, columns) for stretch in STRETCHES])


def _columns(chroma: NDArray[np.uint8], start: float, stretch: float, columns: int) -> NDArray[np.float32]:
    places = np.clip(start + stretch * np.arange(columns), 0, len(chroma) - 1)
    before = places.astype(np.int64)
    after = np.minimum(before + 1, len(chroma) - 1)
    weight = (places - before)[:, None].astype(np.float32)
    return np.asarray((1 - weight) * chroma[before] + weight * chroma[after], dtype=np.float32)
