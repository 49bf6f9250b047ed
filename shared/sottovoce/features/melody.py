"""Descriptors of the leading line: steps and leaps, note values, compass."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.features.descriptors import Descriptors

WIDEST_STEP = 12
VALUES_SECONDS = (0.07, 0.12, 0.16, 0.21, 0.3, 0.4, 0.53, 0.77, 1.14)
"""Bin edges of note values, seconds: as fine as frames allow for fast music, two per doubling for slow."""
LEAST_SECONDS = 0.09
"""Shortest note of the line, seconds; anything shorter is a transition between two notes."""
LEAST_NOTES = 3
_SHAPE = ("centre", "spread", "compass", "turns", "steps", "leaps", "repeated", "notes", "variety", "width")


def melody(notes: Tensor, frame_rate: float) -> Descriptors:
    """Descriptors of the sequence of strongest notes; all 0 if there are hardly any.

    Distributions of its steps by size in semitones and of its note values by length, then single numbers: mean pitch,
    its deviation and compass in semitones, shares of turns, steps, leaps and repetitions, number of notes (logarithm),
    variety of note values, and mean step size.

    Args:
        notes: from `transcription.transcribe`, `[segments, semitones, frames]`.
        frame_rate: frames per second.
    """
    strength, line = notes.max(dim=1)
    sizes = {"line.step": 2 * WIDEST_STEP + 1, "line.value": len(VALUES_SECONDS) + 1}
    sizes |= {f"line.{name}": 1 for name in _SHAPE}
    found = np.zeros((len(notes), sum(sizes.values())), dtype=np.float32)
    for segment, (pitch, active) in enumerate(zip(line.numpy(), (strength > 0).numpy(), strict=True)):
        key, start, length = _runs(pitch, active, max(2, round(LEAST_SECONDS * frame_rate)))
        if len(key) >= LEAST_NOTES:
            found[segment] = np.concatenate(_described(key, start / frame_rate, length / frame_rate))
    parts = np.split(found, np.cumsum(list(sizes.values()))[:-1], axis=1)
    return {name: torch.from_numpy(part) for name, part in zip(sizes, parts, strict=True)}


Notes = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _runs(pitch: NDArray[np.int64], active: NDArray[np.bool_], least: int) -> Notes:
    """Key, first frame and number of frames of each note that is long enough."""
    key = np.where(active, pitch, -1)
    start = np.concatenate([[0], np.flatnonzero(np.diff(key)) + 1])
    length = np.diff(np.append(start, len(key)))
    lasting = (key[start] >= 0) & (length >= least)
    return key[start][lasting], start[lasting], length[lasting]


def _described(
    key: NDArray[np.int64], start: NDArray[np.float64], length: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[float]]:
    steps, values = np.diff(key), np.diff(start)
    size, direction = np.abs(steps), np.sign(steps)
    centre = float(np.average(key, weights=length))
    moved = np.bincount(np.clip(steps, -WIDEST_STEP, WIDEST_STEP) + WIDEST_STEP, minlength=2 * WIDEST_STEP + 1)
    lasted = np.bincount(np.searchsorted(VALUES_SECONDS, values), minlength=len(VALUES_SECONDS) + 1)
    shape = [
        centre,
        float(key.std()),
        float(np.ptp(key)),
        float((direction[1:] * direction[:-1] < 0).mean()),
        float(((size > 0) & (size <= 2)).mean()),
        float((size >= 5).mean()),
        float((size == 0).mean()),
        float(np.log(len(key))),
        float(np.log(values).std()),
        float(size.mean()),
    ]
    return np.sqrt(moved / len(steps)), np.sqrt(lasted / len(values)), shape
