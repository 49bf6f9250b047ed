"""New music by a release: spectrogram piece by piece, then audio."""

import hashlib
import math
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.errors import ConfigurationError
from sottovoce.features.normalisation import SpectrogramNormalisation
from sottovoce.models.base import Generator
from sottovoce.release.load import Release
from sottovoce.vocoder import GriffinLim
from sottovoce.vocoder.base import long_audio

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
        progress: of the work.

    Raises:
        ReleaseError: the release generates nothing.
        ConfigurationError: it knows no such style.
    """
    release.expect_task("generator")
    classes = release.manifest.classes
    if style not in classes:
        raise ConfigurationError(f"The release knows no style '{style}'.", hint=f"Choose from {', '.join(classes)}.")
    spec = release.manifest.features
    samples = round(seconds * spec.sample_rate)
    frames = max(2, math.ceil(samples / spec.hop_length) + 1)
    generator = torch.Generator().manual_seed(_seed(seed, index))
    target = torch.tensor([classes.index(style)])
    levels = _drawn(release, target, frames, generator, temperature, progress)
    done = len(levels[0])
    audio = long_audio(
        GriffinLim(spec), levels, generator, lambda part, _: progress(done + part * done // frames, 2 * done)
    )
    found: NDArray[np.float32] = _finished(audio[:samples], spec.sample_rate).numpy()
    return found


def _drawn(
    release: Release, target: Tensor, frames: int, generator: torch.Generator, temperature: float, progress: Progress
) -> Tensor:
    """Levels in dB, `[n_mels, frames]`."""
    family, parts, drawn = cast(Generator, release.family), [], 0
    constants = cast(SpectrogramNormalisation, release.constants)  # as every release of this task has
    for piece in family.sample(release.model, target, generator, temperature=temperature):
        parts.append(constants.decibels(piece[0]))
        drawn += piece.shape[2]
        progress(min(drawn, frames), 2 * frames)
        if drawn >= frames:
            break
    return torch.cat(parts, dim=1)[:, :frames]


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
