"""What is compared: a few seconds of a sample, or of a held-out track."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce_client.copying.sketch import COLUMN_RATE, FRAME_RATE, Sketch

SECONDS = 4.0
"""As a segment that models are trained on: what they know by heart is no longer than that."""
EVERY = 1.0
"""Seconds from the start of an excerpt to that of the next one: what was copied is seldom cut where ours begin."""
COLUMNS = round(SECONDS * COLUMN_RATE)
STRETCHES = (0.95, 1.0, 1.05)
"""By how much longer a copy may be than what it was copied from."""


@dataclass(frozen=True)
class Excerpt:
    """`SECONDS` of audio.

    Args:
        times: of its peaks, in frames from its start, int32 `[peaks]`.
        bands: of its peaks, uint8 `[peaks]`.
        chroma: what it would be, were it so many times shorter: `[len(STRETCHES), COLUMNS, SEMITONES]`, float32.
    """

    times: NDArray[np.int32]
    bands: NDArray[np.uint8]
    chroma: NDArray[np.float32]


def excerpts(sketch: Sketch) -> Iterator[Excerpt]:
    """All of a sketch, one every `EVERY` seconds."""
    for number in range(1 + math.floor(longest_start(sketch) / EVERY)):
        yield at(sketch, number * EVERY)


def at(sketch: Sketch, seconds: float) -> Excerpt:
    """The excerpt that begins there."""
    first = round(seconds * FRAME_RATE)
    low, high = np.searchsorted(sketch.times, [first, first + round(SECONDS * max(STRETCHES) * FRAME_RATE)])
    start = seconds * COLUMN_RATE
    return Excerpt(
        sketch.times[low:high] - np.int32(first),
        sketch.bands[low:high],
        np.stack([_columns(sketch.chroma, start, stretch) for stretch in STRETCHES]),
    )


def longest_start(sketch: Sketch) -> float:
    """Seconds at which the last whole excerpt begins; negative where there is none."""
    return (len(sketch.chroma) - COLUMNS * max(STRETCHES)) / COLUMN_RATE


def _columns(chroma: NDArray[np.uint8], start: float, stretch: float) -> NDArray[np.float32]:
    """`COLUMNS` columns, `stretch` apart, between those that there are."""
    places = np.clip(start + stretch * np.arange(COLUMNS), 0, len(chroma) - 1)
    before = places.astype(np.int64)
    after = np.minimum(before + 1, len(chroma) - 1)
    part = (places - before)[:, None].astype(np.float32)
    found: NDArray[np.float32] = (1 - part) * chroma[before] + part * chroma[after]
    return found
