"""Sketches: compact descriptions of tracks for comparison, made of spectral peaks and a chromagram.

Both use a logarithmic frequency axis, on which a transposition is a shift.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sottovoce.audio.decoding import read_parts
from sottovoce.audio.resampling import framed, resampled_blocks

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

_FRAMES = 32 * POOL  # at a time, which bounds memory
_AHEAD = POOL - 1  # frames before and after that a column, and so a peak, depends on
_BYTES = 4 * BANDS  # of a frame
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
    return sketch(read_parts(path, RATE))


def sketch(audio: Iterable[Tensor]) -> Sketch:
    """The sketch of mono samples at `RATE`, in parts, float32 `[samples]`; empty if they are shorter than a window.

    Levels are relative to the loudest band of the whole, so magnitudes wait in a temporary file: memory hardly grows
    with the length.
    """
    with torch.inference_mode(), TemporaryFile() as file:
        loudest = torch.tensor(1e-9)
        for part in framed(audio, WINDOW, HOP, _FRAMES):
            magnitudes = _bank() @ part.abs()
            loudest = torch.maximum(loudest, magnitudes.max())
            file.write(magnitudes.T.contiguous().numpy().data)
        frames = file.tell() // _BYTES
        if frames <= WINDOW // HOP:
            return Sketch(np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros((0, SEMITONES), np.uint8))
        peaks, columns = [], []
        for start in range(0, frames, _FRAMES):
            end = min(start + _FRAMES, frames)
            first, last = max(start - _AHEAD, 0), min(end + _AHEAD, frames)
            file.seek(_BYTES * first)
            rows = np.fromfile(file, np.float32, BANDS * (last - first)).reshape(-1, BANDS)
            levels = _standing_out(torch.from_numpy(rows).T, loudest)
            bands, times, heights = _peaks(levels, slice(start - first, end - first))
            peaks.append((bands, times + start, heights))
            columns.append(_chroma(functional.pad(levels, (_AHEAD + first - start, _AHEAD + end - last))))
    return Sketch(*_most_prominent(*(torch.cat(each) for each in zip(*peaks, strict=True))), np.concatenate(columns))


def as_mono(audio: NDArray[np.floating], rate: int) -> Iterator[Tensor]:
    """Convert mono samples of any rate to the parts at `RATE` that `sketch` takes."""
    return resampled_blocks([np.ascontiguousarray(audio, dtype=np.float32)], rate, RATE)


def _standing_out(magnitudes: Tensor, loudest: Tensor) -> Tensor:
    """Prominence of each band over its neighbours in dB, at least 0, `[BANDS, frames]`.

    Filters (loudspeakers, equalisers, codecs) and broad noise change this little.
    """
    levels = 20 * torch.log10(magnitudes / loudest + _QUIET)
    around = functional.avg_pool1d(levels.T, 2 * _AROUND + 1, 1, _AROUND, count_include_pad=False).T
    return functional.relu(levels - around)


def _peaks(levels: Tensor, frames: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Bands, times and heights of the local maxima within some frames, `[peaks]` each."""
    # First over frames, then over bands: the same maxima as of the rectangle, with fewer comparisons.
    largest = functional.max_pool1d(levels, 2 * _NEAR_FRAMES + 1, 1, _NEAR_FRAMES)
    largest = functional.max_pool1d(largest.T, 2 * _NEAR_BANDS + 1, 1, _NEAR_BANDS).T
    bands, times = ((levels == largest) & (levels > _LEAST))[:, frames].nonzero(as_tuple=True)
    return bands, times, levels[:, frames][bands, times]


def _most_prominent(bands: Tensor, times: Tensor, heights: Tensor) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Times and bands of the most prominent peaks of each second, in order of time."""
    by_band = torch.from_numpy(np.lexsort((times, bands)))  # decides between peaks of equal height
    order = by_band[torch.argsort(heights[by_band], descending=True)]
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
    """The chromagram with one column per `POOL` frames, each the Hann-weighted mean of twice as many frames.

    Args:
        levels: levels, with `_AHEAD` frames before the first and after the last.
    """
    semitones = levels.view(SEMITONES, FINE, -1).amax(dim=1)
    weights = torch.hann_window(2 * POOL + 1, periodic=False)[1:-1]
    pooled = functional.conv1d(semitones[:, None], (weights / weights.sum())[None, None], stride=POOL)
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
