"""Sketches: compact descriptions of tracks for comparison, made of spectral peaks and a chromagram.

Both use a logarithmic frequency axis, on which a transposition is a shift.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sottovoce.audio.decoding import read
from sottovoce.audio.resampling import framed, resampled

VERSION = 1
"""Version of the sketch format; raise it whenever the same audio would give another sketch."""

RATE = 11_025
WINDOW, HOP = 2048, 256
FRAME_RATE = RATE / HOP
"""Rate of the spectrogram's frames, 43 per second."""
LOWEST, SEMITONES, FINE = 165.0, 56, 3
"""Lowest band in Hz, number of semitones above it, and bands per semitone. Below it a bin is wider than a semitone."""
BANDS = SEMITONES * FINE
POOL = 11
"""Hop of the chromagram's columns, in frames (0.255 s)."""
COLUMN_RATE = FRAME_RATE / POOL
PEAKS_A_SECOND = 30
LEVELS = 6.0
"""Quantisation of the chromagram, in steps per dB."""

_FRAMES = 8192  # at a time, which bounds memory
_QUIET = 1e-3  # relative to the loudest band: -60 dB
_AROUND = 8 * FINE  # bands on each side whose mean a partial must stand out from
_LEAST = 6.0  # least prominence in dB
_NEAR_BANDS, _NEAR_FRAMES = 2, 4  # neighbourhood on each side in which a peak is the maximum


@dataclass(frozen=True)
class Sketch:
    """A piece of audio, a few hundred bytes a second.

    Args:
        times: times of the peaks, in frames, ascending, int32 `[peaks]`.
        bands: bands of the peaks, uint8 `[peaks]`.
        chroma: prominence of each semitone, quantised, uint8 `[columns, SEMITONES]`.
    """

    times: NDArray[np.int32]
    bands: NDArray[np.uint8]
    chroma: NDArray[np.uint8]


def sketch_file(path: Path) -> Sketch:
    """The sketch of an audio file.

    Raises:
        AudioError: the file cannot be used; `reason` says why.
    """
    return sketch(read(path, RATE))


def sketch(audio: Tensor) -> Sketch:
    """The sketch of mono samples at `RATE`, float32 `[samples]`; empty if they are shorter than a window."""
    if len(audio) < WINDOW:
        return Sketch(np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros((0, SEMITONES), np.uint8))
    with torch.inference_mode():
        levels = _standing_out(audio)
        times, bands = _peaks(levels)
        return Sketch(times, bands, _chroma(levels))


def as_mono(audio: NDArray[np.floating], rate: int) -> Tensor:
    """Convert samples of any rate to the mono samples at `RATE` that `sketch` takes."""
    return resampled(torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32)), rate, RATE)


def _standing_out(audio: Tensor) -> Tensor:
    """Prominence of each band over its neighbours in dB, at least 0, `[BANDS, frames]`.

    Filters (loudspeakers, equalisers, codecs) and broad noise change this little.
    """
    magnitudes = torch.cat([_bank() @ part.abs() for part in framed(audio, WINDOW, HOP, _FRAMES)], dim=1)
    levels = 20 * torch.log10(magnitudes / magnitudes.max().clamp(min=1e-9) + _QUIET)
    around = functional.avg_pool1d(levels.T, 2 * _AROUND + 1, 1, _AROUND, count_include_pad=False).T
    return functional.relu(levels - around)


def _peaks(levels: Tensor) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The most prominent local maxima of each second, in order of time."""
    size = (2 * _NEAR_BANDS + 1, 2 * _NEAR_FRAMES + 1)
    largest = functional.max_pool2d(levels[None], size, 1, (_NEAR_BANDS, _NEAR_FRAMES))[0]
    bands, times = ((levels == largest) & (levels > _LEAST)).nonzero(as_tuple=True)
    heights = levels[bands, times]
    order = torch.argsort(heights, descending=True)
    seconds = (times[order] / FRAME_RATE).long().numpy()
    kept = order.numpy()[_rank_in_group(seconds) < PEAKS_A_SECOND]
    when, which = times.numpy()[kept], bands.numpy()[kept]
    by_time = np.lexsort((which, when))
    return when[by_time].astype(np.int32), which[by_time].astype(np.uint8)


def _rank_in_group(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each item, the number of earlier items in the same group, `[len(groups)]`."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    first = np.searchsorted(ordered, ordered)
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups)) - first
    return ranks


def _chroma(levels: Tensor) -> NDArray[np.uint8]:
    """The chromagram with one column per `POOL` frames, each the Hann-weighted mean of twice as many frames."""
    semitones = levels.view(SEMITONES, FINE, -1).amax(dim=1)
    weights = torch.hann_window(2 * POOL + 1, periodic=False)[1:-1]
    pooled = functional.conv1d(semitones[:, None], (weights / weights.sum())[None, None], stride=POOL, padding=POOL - 1)
    return np.asarray((LEVELS * pooled[:, 0].T).round().clamp(0, 255).to(torch.uint8))


@lru_cache(maxsize=1)
def _bank() -> Tensor:
    """Triangular filters on a logarithmic frequency axis, at least one bin wide, each of unit sum: `[BANDS, bins]`."""
    width = RATE / WINDOW
    centres = LOWEST * 2 ** (torch.arange(BANDS) / (12 * FINE)) / width
    spread = (centres * (2 ** (1 / (12 * FINE)) - 1)).clamp(min=1.0)
    bins = torch.arange(WINDOW // 2 + 1)
    triangles = (1 - (bins[None] - centres[:, None]).abs() / spread[:, None]).clamp(min=0)
    return triangles / triangles.sum(dim=1, keepdim=True)
