"""Side of a track without tags, from its average spectrum: copies of a recording nearly always get the same side.

A track is described by the share of its energy in each semitone, averaged over its length; codecs, sample rates and
levels hardly change that. The label's key selects a direction in this space of 56 dimensions, which is cut into
stripes; a fifth of each stripe is held out. This is a locality-sensitive hash (Datar et al., SoCG 2004) of two values.
A stripe is narrow compared with the differences between tracks, so that tracks are spread evenly over both sides, and
wide compared with the differences between copies of one track.
"""

import hmac
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.audio.decoding import read_parts
from sottovoce.audio.resampling import framed

RATE = 11_025
"""Sample rate in Hz. Nearly every codec and sample rate keeps what is below 4 kHz, the highest band used here."""
WINDOW, HOP = 2048, 1024
LOWEST, SEMITONES = 165.0, 56
"""Lower edge of the lowest band in Hz, and number of semitone bands."""
STRIPE = 0.8
"""Width of a stripe. Tracks of one style have a standard deviation of 0.4 to 0.7 along the direction; a copy is 0.001
to 0.03 from its original (`docs/catalogue.md`)."""

_FRAMES = 256  # at a time, which bounds memory
_BANDS = np.floor(12 * np.log2(np.arange(1, WINDOW // 2 + 1) * RATE / WINDOW / LOWEST)).astype(np.int64)
_FIRST, _LAST = 1 + np.searchsorted(_BANDS, [0, SEMITONES])  # bins


def spectrum_of(path: Path) -> NDArray[np.float64]:
    """The spectrum of an audio file.

    Raises:
        AudioError: the file cannot be used; `reason` says why.
    """
    return spectrum(read_parts(path, RATE))


def spectrum(audio: Iterable[Tensor]) -> NDArray[np.float64]:
    """The average spectrum of mono samples at `RATE`, in parts, float32 `[samples]`.

    The middle of the track has more weight than its ends, so that cutting half a second off an end changes little.

    Returns:
        Square root of each semitone's share of the energy, `[SEMITONES]`; its norm is 1, or 0 for silence.
    """
    bands, parts = torch.from_numpy(_BANDS[_FIRST - 1 : _LAST - 1]), []
    with torch.inference_mode():
        for part in framed(audio, WINDOW, HOP, _FRAMES):
            power = part[_FIRST:_LAST].abs().square().double()
            parts.append(torch.zeros(SEMITONES, power.shape[1]).double().index_add_(0, bands, power))
    by_frame = torch.cat(parts, dim=1).numpy()
    frames = by_frame.shape[1]
    energies = by_frame @ np.sin(np.pi * (np.arange(frames) + 0.5) / frames) ** 2
    total = energies.sum()
    shares: NDArray[np.float64] = energies / max(float(total), np.finfo(np.float64).tiny)
    return np.sqrt(shares)


def held_out_by_spectrum(spectrum: NDArray[np.float64], share: float, *, key: bytes) -> bool:
    """Whether a track with this spectrum is held out; no other track enters.

    Args:
        spectrum: result of `spectrum`, `[SEMITONES]`.
        share: share of tracks to hold out, in (0, 1).
        key: the label's secret key.
    """
    drawn = hmac.digest(key, b"stripes", sha256)
    signs = np.unpackbits(np.frombuffer(drawn, np.uint8), count=SEMITONES) * 2.0 - 1.0
    offset = int.from_bytes(drawn[-8:]) / 2**64
    return float((signs @ spectrum / STRIPE + offset) % 1.0) < share
