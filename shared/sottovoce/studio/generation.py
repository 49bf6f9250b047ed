"""New music by a release: spectrogram piece by piece, then audio."""

import hashlib
import math
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.errors import ConfigurationError, no_sound
from sottovoce.features.normalisation import SpectrogramNormalisation
from sottovoce.models.interfaces import Generator
from sottovoce.release.load import Release
from sottovoce.studio.best_of import Audition
from sottovoce.studio.vocoder import vocoder_of
from sottovoce.studio.vocoder.interface import long_audio

FADE_SECONDS = 0.01
"""At both ends, where music that goes on is cut."""
PEAK = 0.99

Progress = Callable[[int, int], None]
"""Told how many frames of how many are done; each frame counts once when it is drawn and once when it is audio."""


def generate(
    release: Release,
    style: str,
    seconds: float,
    *,
    seed: int,
    index: int = 0,
    temperature: float = 1.0,
    audition: Audition | None = None,
    progress: Progress = lambda _, __: None,
) -> NDArray[np.float32]:
    """Music of a style, `[samples]` at the rate of the release's feature spec, full scale 1.

    Args:
        release: of the task `generator`.
        style: one of its classes.
        seconds: how long.
        seed: equal seeds give equal music, on the same machine and versions.
        index: which of several pieces of one seed.
        temperature: 1 draws as trained; less keeps to what is likelier.
        audition: chooses among several beginnings; without one, the first is taken as it comes.
        progress: of the work.

    Raises:
        ReleaseError: the release generates nothing, or what is no sound.
        ConfigurationError: it, or the audition's judge, knows no such style.
    """
    release.expect_task("generator")
    classes = release.manifest.classes
    if style not in classes:
        raise ConfigurationError(f"The release knows no style '{style}'.", hint=f"Choose from {', '.join(classes)}.")
    spec = release.manifest.features
    samples = round(seconds * spec.sample_rate)
    frames = max(2, math.ceil(samples / spec.hop_length) + 1)
    if audition is not None:
        audition.expect_style(style)
    generator = torch.Generator().manual_seed(_seed(seed, index))
    levels = _drawn(release, style, frames, generator, temperature, audition, progress)
    audio = long_audio(vocoder_of(spec), levels, generator, lambda part, _: progress(frames + part, 2 * frames))
    return _finished(_sound(audio[:samples]), spec.sample_rate).numpy()


def _drawn(
    release: Release,
    style: str,
    frames: int,
    generator: torch.Generator,
    temperature: float,
    audition: Audition | None,
    progress: Progress,
) -> Tensor:
    """Levels in dB, `[n_mels, frames]`."""
    family, spec = cast(Generator, release.family), release.manifest.features
    constants = cast(SpectrogramNormalisation, release.constants)  # as every release of this task has
    count = audition.candidates if audition else 1
    heard = math.ceil(audition.seconds * spec.sample_rate / spec.hop_length) + 1 if audition else 0
    targets = torch.full((count,), release.manifest.classes.index(style))
    parts: list[Tensor] = []
    drawn, chosen = 0, slice(count)
    for piece in family.sample(release.model, targets, generator, temperature=temperature):
        parts.append(_sound(constants.decibels(piece[chosen])))
        drawn += piece.shape[2]
        progress(min(drawn, frames), 2 * frames)
        if audition and 0 < heard <= drawn:
            beginnings = torch.cat(parts, dim=2)
            best = audition.best(list(beginnings[:, :, :heard]), spec, style)
            parts, chosen, heard = [beginnings[best : best + 1]], slice(best, best + 1), 0
        if drawn >= frames and not heard:
            break
    return torch.cat(parts, dim=2)[0, :, :frames]


def _sound(numbers: Tensor) -> Tensor:
    if not numbers.isfinite().all():
        raise no_sound()
    return numbers


def _finished(audio: Tensor, sample_rate: int) -> Tensor:
    """Faded at both ends, and no louder than full scale."""
    width = min(round(FADE_SECONDS * sample_rate), len(audio) // 2)
    rise = torch.linspace(0, 1, width)
    audio[:width] *= rise
    audio[len(audio) - width :] *= rise.flip(0)
    peak = float(audio.abs().max()) if len(audio) else 0.0
    return audio * (PEAK / peak) if peak > PEAK else audio


def _seed(seed: int, index: int) -> int:
    """One seed for each piece: the first of several is the one that is made alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:8]) >> 1
