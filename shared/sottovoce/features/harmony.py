"""Descriptors of harmony and melody: which notes sound together and in succession, in any key, on any instrument."""

import torch
from torch import Tensor

from sottovoce.features.descriptors import Descriptors, level_and_spread, logarithm, share, spread
from sottovoce.features.spectra import LOWEST_PITCH, Spectra

DIATONIC = (0, 2, 4, 5, 7, 9, 11)
STEP_SECONDS = 0.2
WIDEST_INTERVAL = 12


def harmony(spectra: Spectra) -> Descriptors:
    """Chroma, and what does not change with its key: Fourier magnitudes, mode, intervals, successions, register."""
    chroma = _chroma(spectra.pitch)
    return {
        **_pitch_classes(chroma),
        **_intervals(chroma),
        **_successions(spectra.pitch, chroma, spectra.pitch_rate),
        **_register(spectra.pitch),
        "tuning": spectra.tuning,
    }


def _chroma(pitch: Tensor) -> Tensor:
    """Semitones folded into pitch classes (C first), each frame's sum 1: `[segments, 12, frames]`."""
    classes = torch.zeros(pitch.shape[0], 12, pitch.shape[2])
    classes.index_add_(1, (torch.arange(pitch.shape[1]) + LOWEST_PITCH) % 12, pitch)
    return classes / classes.sum(dim=1, keepdim=True).clamp(min=1e-6)


def _pitch_classes(chroma: Tensor) -> Descriptors:
    """Chroma itself, and its Fourier transform over the pitch classes (Quinn, 2006), whose magnitudes know no key."""
    mean = share(chroma.mean(dim=2))
    qualities = torch.fft.rfft(mean).abs()[:, 1:]
    momentary = torch.fft.rfft(chroma.transpose(1, 2)).abs()[:, :, 1:]
    entropy = -(mean * torch.log(mean + 1e-6)).sum(dim=1)
    return {
        "chroma.mean": mean.sqrt(),
        "quality.mean": qualities,
        "quality.momentary": momentary.mean(dim=1),
        "quality.std": spread(momentary.transpose(1, 2)),
        "mode": _mode(mean),
        "chroma.entropy": entropy,
    }


def _mode(mean: Tensor) -> Tensor:
    """Mean chroma turned so that the diatonic scale that fits it best starts at its first degree, `[segments, 12]`."""
    scale = torch.zeros(12)
    scale[list(DIATONIC)] = 1
    turned = torch.stack([mean.roll(-steps, dims=1) for steps in range(12)], dim=1)
    # The fifth degree's circle of fifths breaks ties between neighbouring scales: a pentatonic tune fits three.
    best = (turned @ (scale + 0.1 * scale.roll(7))).argmax(dim=1)
    return turned[torch.arange(len(mean)), best].sqrt()


def _intervals(chroma: Tensor) -> Descriptors:
    """How often each interval class (1 to 6 semitones) sounds at once."""
    at_once = [(chroma * chroma.roll(steps, dims=1)).sum(dim=1).mean(dim=1) for steps in range(1, 7)]
    alone = chroma.square().sum(dim=1)
    return {"interval": logarithm(torch.stack(at_once, dim=1), 0.01), **level_and_spread("alone", alone)}


def _successions(pitch: Tensor, chroma: Tensor, frame_rate: float) -> Descriptors:
    """By how many semitones what sounds moves up or down from one moment to the next, as shares."""
    frames = pitch.shape[2]
    lag = min(max(1, round(STEP_SECONDS * frame_rate)), frames - 1)
    now, later = chroma[:, :, :-lag], chroma[:, :, lag:]
    classes = [(now * later.roll(-steps, dims=1)).sum(dim=1).mean(dim=1) for steps in range(12)]
    fresh = (pitch[:, :, 1:] - pitch[:, :, :-1]).clamp(min=0)
    sounding, starting = pitch[:, :, : frames - lag], fresh[:, :, lag - 1 :]
    products = torch.einsum("sif,sjf->sij", sounding, starting)
    moves = [
        products.diagonal(offset=step, dim1=1, dim2=2).sum(dim=1)
        for step in range(-WIDEST_INTERVAL, WIDEST_INTERVAL + 1)
    ]
    return {
        "succession": share(torch.stack(classes, dim=1)).sqrt(),
        "melody": share(torch.stack(moves, dim=1)).sqrt(),
        "change": (chroma[:, :, 1:] - chroma[:, :, :-1]).abs().sum(dim=1).mean(dim=1),
    }


def _register(pitch: Tensor) -> Descriptors:
    """How high, how wide and how dense what sounds is."""
    steps = torch.arange(pitch.shape[1], dtype=torch.float32)
    mean = share(pitch.mean(dim=2))
    centre = mean @ steps
    width = ((mean @ steps.square()) - centre.square()).clamp(min=0).sqrt()
    voices = (pitch > 0.3 * pitch.amax(dim=1, keepdim=True).clamp(min=1e-6)).sum(dim=1).float()
    moving = share(pitch.transpose(1, 2)) @ steps
    return {
        "register.centre": centre,
        "register.width": width,
        "register.entropy": -(mean * torch.log(mean + 1e-6)).sum(dim=1),
        "register.motion": logarithm(moving.diff(dim=1).abs().mean(dim=1), 0.1),
        **level_and_spread("voices", torch.log2(voices + 1)),
    }
