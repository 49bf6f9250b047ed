"""Descriptors of rhythm: when events occur, independent of timbre."""

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sottovoce.features.descriptors import Descriptors, logarithm, spread
from sottovoce.features.spectra import Spectra

SHORTEST_LAG, LONGEST_LAG = 0.1, 2.0
LAGS = 24
SCALES = 10
MODULATION_EDGES = tuple(0.5 * 2 ** (step / 1.25) for step in range(7))  # 0.5 to 13.9 Hz
MODULATION_BANDS = 6
ONSET_SECONDS = 0.06
ONSET_THRESHOLD = 0.5
GAPS_SECONDS = (0.1, 0.13, 0.17, 0.22, 0.29, 0.36, 0.45, 0.57, 0.71, 0.9, 1.13)
"""Bin edges of gaps between onsets, seconds: three per doubling."""
GAP_RATIOS = (-1.3, -0.8, -0.3, 0.3, 0.8, 1.3)
"""Bin edges of a gap's ratio to the previous one, as log2."""


def rhythm(spectra: Spectra) -> Descriptors:
    """Onsets, their periodicities with and without tempo, and modulation spectra."""
    envelope = _onset_envelope(spectra.mel)
    return {
        **_onsets(envelope, spectra.frame_rate),
        **_periods(envelope, spectra.frame_rate),
        **_modulation(spectra),
    }


def _onset_envelope(mel: Tensor) -> Tensor:
    """Rising energy summed over bands, `[segments, frames]`, in mean dB per band.

    A frame is compared with the loudest neighbouring band two frames earlier, so that vibrato is not an onset
    (SuperFlux, Böck & Widmer, DAFx 2013).
    """
    before = functional.max_pool1d(mel.transpose(1, 2).flatten(0, 1)[:, None], 3, stride=1, padding=1)[:, 0]
    before = before.reshape(mel.shape[0], mel.shape[2], -1).transpose(1, 2)
    rise = (mel[:, :, 2:] - before[:, :, :-2]).clamp(min=0).mean(dim=1)
    return functional.pad(rise, (1, 1))


def _onsets(envelope: Tensor, frame_rate: float) -> Descriptors:
    """Rate, strength and regularity of onsets (local maxima above the mean)."""
    half = max(1, round(ONSET_SECONDS * frame_rate))
    highest = functional.max_pool1d(envelope[:, None], 2 * half + 1, stride=1, padding=half)[:, 0]
    mean = envelope.mean(dim=1, keepdim=True)
    onset = (envelope == highest) & (envelope > mean + ONSET_THRESHOLD * spread(envelope)[:, None]) & (envelope > 0.1)
    count = onset.sum(dim=1).float()
    seconds = envelope.shape[1] / frame_rate
    strength = (envelope * onset).sum(dim=1) / count.clamp(min=1)
    return {
        "onset.rate": logarithm(count / seconds, 0.25),
        "onset.strength": logarithm(strength, 0.1),
        "onset.level": logarithm(mean[:, 0], 0.05),
        "onset.contrast": logarithm(spread(envelope) / (mean[:, 0] + 0.05), 0.05),
        **_gaps(onset.numpy(), frame_rate),
    }


def _gaps(onset: NDArray[np.bool_], frame_rate: float) -> Descriptors:
    """Gaps between onsets: mean and deviation of their log2 seconds, distributions by length of one and of two in a
    row, and by ratio to the previous gap. Fewer than three onsets count as one gap of the whole segment.
    """
    means, spreads, ones, twos, ratios = [], [], [], [], []
    for row in onset:
        times = np.flatnonzero(row) / frame_rate
        apart = np.diff(times) if len(times) > 2 else np.array([len(row) / frame_rate])
        gaps = np.log2(apart)
        means.append(gaps.mean())
        spreads.append(gaps.std())
        ones.append(_shares(apart, GAPS_SECONDS))
        twos.append(_shares(times[2:] - times[:-2], GAPS_SECONDS))
        ratios.append(_shares(np.diff(gaps), GAP_RATIOS))
    named = {"onset.gap": means, "onset.irregularity": spreads, "gap": ones, "gap.two": twos, "gap.ratio": ratios}
    return {name: torch.from_numpy(np.array(values, dtype=np.float32)) for name, values in named.items()}


def _shares(values: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.float64]:
    """Square roots of the shares of values between edges, `[edges + 1]`; all 0 without values."""
    counted = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
    return np.sqrt(counted / max(1, len(values)))


def _autocorrelation(envelope: Tensor) -> Tensor:
    """Unbiased, normalised autocorrelation, `[segments, lags]`."""
    frames = envelope.shape[1]
    centred = envelope - envelope.mean(dim=1, keepdim=True)
    spectrum = torch.fft.rfft(centred, 2 * frames)
    products = torch.fft.irfft(spectrum.abs().square(), 2 * frames)[:, :frames]
    products = products / (frames - torch.arange(frames)).clamp(min=frames // 8 + 1)
    return products / (products[:, :1] + 1e-3)


@lru_cache(maxsize=8)
def _log_lags(frames: int, frame_rate: float, count: int) -> Tensor:
    """Lags in frames, evenly spaced in their logarithm."""
    longest = min(LONGEST_LAG, 0.75 * frames / frame_rate)
    return torch.logspace(math.log10(SHORTEST_LAG), math.log10(longest), count) * frame_rate


def _at(values: Tensor, places: Tensor) -> Tensor:
    """Linearly interpolated values."""
    below = places.floor().long().clamp(max=values.shape[1] - 2)
    part = places - below
    return values[:, below] * (1 - part) + values[:, below + 1] * part


def _periods(envelope: Tensor, frame_rate: float) -> Descriptors:
    """Autocorrelation at log-spaced lags, and its scale transform.

    The magnitudes of a Fourier transform over log lag do not change with tempo (Holzapfel & Stylianou, IEEE TASLP
    2011).
    """
    products = _autocorrelation(envelope)
    frames = envelope.shape[1]
    coarse = _at(products, _log_lags(frames, frame_rate, LAGS))
    fine = _at(products, _log_lags(frames, frame_rate, 8 * SCALES))
    window = torch.hann_window(fine.shape[1])
    scale = torch.fft.rfft(fine * window).abs()[:, 1 : SCALES + 1]
    return {"period": coarse, "scale": logarithm(scale, 0.1), "pulse": coarse.amax(dim=1)}


@lru_cache(maxsize=8)
def _modulation_bank(frames: int, frame_rate: float) -> Tensor:
    """Bins of a modulation spectrum to log-spaced bands, `[bins, bands]`; each band is a mean."""
    hertz = torch.fft.rfftfreq(frames, 1 / frame_rate)
    bands = []
    for low, high in pairwise(MODULATION_EDGES):
        inside = ((hertz >= low) & (hertz < high)).float()
        if inside.sum() == 0:
            inside[(hertz - math.sqrt(low * high)).abs().argmin()] = 1
        bands.append(inside / inside.sum())
    return torch.stack(bands, dim=1)


def _modulation(spectra: Spectra) -> Descriptors:
    """How fast each part of the spectrum changes: log modulation power, 0.5 to 14 Hz."""
    segments, _, frames = spectra.coarse.shape
    groups = spectra.coarse.reshape(segments, MODULATION_BANDS, -1, frames).mean(dim=2)
    window = torch.hann_window(frames)
    centred = (groups - groups.mean(dim=2, keepdim=True)) * window
    power = torch.fft.rfft(centred).abs().square() / frames
    return {"modulation": logarithm(power @ _modulation_bank(frames, spectra.frame_rate), 0.1).flatten(1)}
