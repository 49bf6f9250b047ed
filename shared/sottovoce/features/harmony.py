"""Descriptors of harmony: simultaneous and successive notes, independent of key and instrument."""

import torch
from torch import Tensor

from sottovoce.features.descriptors import Descriptors, logarithm, share, spread
from sottovoce.features.melody import melody
from sottovoce.features.spectra import LOWEST_PITCH, Spectra
from sottovoce.features.transcription import VOICES, transcribe

DIATONIC = (0, 2, 4, 5, 7, 9, 11)
STEP_SECONDS = 0.2
SUCCESSION_SECONDS = (0.2, 0.4, 0.75)
RECURRENCE_SECONDS = (0.1, 0.14, 0.19, 0.23, 0.28, 0.37, 0.5, 0.75, 1.0, 1.5, 2.0)
WIDEST_INTERVAL = 12


def harmony(spectra: Spectra) -> Descriptors:
    """Pitch classes, key-invariant descriptors (Fourier magnitudes, mode, intervals, successions), and register.

    Most of them are computed on transcribed notes instead of partials.
    """
    notes = transcribe(spectra.pitch)
    sounding = (notes > 0).to(torch.float32)
    classes = _classes(sounding)
    return {
        **_pitch_classes(_classes(spectra.pitch), classes),
        **_together(sounding, classes),
        **_successions(classes, spectra.pitch_rate),
        **_moves(spectra.pitch, spectra.pitch_rate),
        **_register(spectra.pitch),
        **melody(notes, spectra.pitch_rate),
        "tuning": spectra.tuning,
    }


def _classes(pitch: Tensor) -> Tensor:
    """Semitones folded into pitch classes (C first): `[segments, 12, frames]`."""
    classes = torch.zeros(pitch.shape[0], 12, pitch.shape[2])
    return classes.index_add_(1, (torch.arange(pitch.shape[1]) + LOWEST_PITCH) % 12, pitch)


def _pitch_classes(chroma: Tensor, notes: Tensor) -> Descriptors:
    """Chroma with all partials; for the notes alone, magnitudes of the Fourier transform over the pitch classes (Quinn,
    2006), which do not depend on the key.
    """
    mean = share(notes.mean(dim=2))
    return {
        "chroma.mean": share((chroma / chroma.sum(dim=1, keepdim=True).clamp(min=1e-6)).mean(dim=2)).sqrt(),
        "quality": torch.fft.rfft(mean).abs()[:, 1:],
        "mode": _mode(mean),
        "chroma.entropy": -(mean * torch.log(mean + 1e-6)).sum(dim=1),
    }


def _mode(mean: Tensor) -> Tensor:
    """Mean chroma rotated so that the best fitting diatonic scale starts at its first degree, `[segments, 12]`."""
    scale = torch.zeros(12)
    scale[list(DIATONIC)] = 1
    turned = torch.stack([mean.roll(-steps, dims=1) for steps in range(12)], dim=1)
    # The fifth degree's circle of fifths breaks ties between neighbouring scales: a pentatonic tune fits three.
    best = (turned @ (scale + 0.1 * scale.roll(7))).argmax(dim=1)
    return turned[torch.arange(len(mean)), best].sqrt()


def _together(sounding: Tensor, classes: Tensor) -> Descriptors:
    """Number of simultaneous notes, their intervals to one another, and to the lowest."""
    count = sounding.sum(dim=1)
    steps = torch.arange(sounding.shape[1])
    lowest = sounding.argmax(dim=1)
    highest = sounding.shape[1] - 1 - sounding.flip(1).argmax(dim=1)
    over = (steps[:, None] - lowest[:, None]) % 12
    higher = sounding * (steps[:, None] > lowest[:, None])
    above = torch.zeros(len(sounding), 12, sounding.shape[2]).scatter_add_(1, over, higher)
    pairs = [(classes * classes.roll(step, dims=1)).sum(dim=1).mean(dim=1) for step in range(1, 7)]
    sounding = (count > 0).to(torch.float32)
    frames = sounding.sum(dim=1).clamp(min=1)
    low, high = ((place * sounding).sum(dim=1) / frames for place in (lowest, highest))
    return {
        "voices": torch.stack([(count == voices).float().mean(dim=1) for voices in range(VOICES + 1)], dim=1).sqrt(),
        "interval": logarithm(torch.stack(pairs, dim=1), 0.02),
        "above": share(above.sum(dim=2) + 1e-3).sqrt(),
        "outer": torch.stack([low, high, high - low], dim=1),
    }


def _lag(seconds: float, frame_rate: float, frames: int) -> int:
    return min(max(1, round(seconds * frame_rate)), frames - 1)


def _successions(classes: Tensor, frame_rate: float) -> Descriptors:
    """Distribution of semitone steps between pitch classes a fixed time apart, and how much of the sound remains."""
    frames = classes.shape[2]
    found: Descriptors = {}
    for number, seconds in enumerate(SUCCESSION_SECONDS):
        lag = _lag(seconds, frame_rate, frames)
        # Products of every class now with every later class, summed along their diagonals.
        products = torch.einsum("sit,sjt->sij", classes[:, :, :-lag], classes[:, :, lag:]) / (frames - lag)
        found[f"succession.{number}"] = share(_diagonals(products) + 1e-4).sqrt()
    direction = classes / classes.norm(dim=1, keepdim=True).clamp(min=1e-6)
    kept = []
    for seconds in RECURRENCE_SECONDS:
        lag = _lag(seconds, frame_rate, frames)
        kept.append((direction[:, :, :-lag] * direction[:, :, lag:]).sum(dim=1).mean(dim=1))
    return {**found, "recurrence": torch.stack(kept, dim=1)}


def _diagonals(products: Tensor) -> Tensor:
    """Sums of `[segments, 12, 12]` over equal upward steps from row to column, `[segments, 12]`."""
    rows = torch.arange(12)
    return torch.stack([products[:, rows, (rows + steps) % 12].sum(dim=1) for steps in range(12)], dim=1)


def _moves(pitch: Tensor, frame_rate: float) -> Descriptors:
    """Distribution of intervals, in semitones, between what begins and what sounded before, with all partials."""
    frames = pitch.shape[2]
    lag = _lag(STEP_SECONDS, frame_rate, frames)
    fresh = (pitch[:, :, 1:] - pitch[:, :, :-1]).clamp(min=0)
    products = torch.einsum("sif,sjf->sij", pitch[:, :, : frames - lag], fresh[:, :, lag - 1 :])
    moves = [
        products.diagonal(offset=step, dim1=1, dim2=2).sum(dim=1)
        for step in range(-WIDEST_INTERVAL, WIDEST_INTERVAL + 1)
    ]
    return {"melody": share(torch.stack(moves, dim=1)).sqrt()}


def _register(pitch: Tensor) -> Descriptors:
    """Height and width of what sounds, with all partials."""
    steps = torch.arange(pitch.shape[1], dtype=torch.float32)
    mean = share(pitch.mean(dim=2))
    centre = mean @ steps
    width = ((mean @ steps.square()) - centre.square()).clamp(min=0).sqrt()
    moving = share(pitch.transpose(1, 2)) @ steps
    return {
        "register.centre": centre,
        "register.width": width,
        "register.entropy": -(mean * torch.log(mean + 1e-6)).sum(dim=1),
        "register.spread": spread(moving),
        "register.motion": logarithm(moving.diff(dim=1).abs().mean(dim=1), 0.1),
    }
