"""Generates music with a release: first a spectrogram, piece by piece, then audio."""

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
from sottovoce.studio.best_of import BestOf
from sottovoce.studio.vocoder import vocoder_of
from sottovoce.studio.vocoder.interface import long_audio

FADE_SECONDS = 0.01
"""Length of the fade at each end, in seconds: generated music starts and ends abruptly."""
PEAK = 0.99
"""Largest magnitude of a sample; louder audio is scaled down."""

Progress = Callable[[int, int], None]
"""Called with frames done and in total; a frame counts once when it is sampled and once when it is audio."""


def generate(
    release: Release,
    style: str,
    seconds: float,
    *,
    seed: int,
    index: int = 0,
    temperature: float = 1.0,
    best_of: BestOf | None = None,
    progress: Progress = lambda _, __: None,
) -> NDArray[np.float32]:
    """Generate music of a style: `[samples]` at the rate of the release's feature spec, full scale 1.

    Args:
        release: a release of the task `generator`.
        style: one of its classes.
        seconds: length of the music.
        seed: equal seeds give equal music, on the same machine and versions.
        index: number of the piece; one seed gives any number of different pieces.
        temperature: 1 samples as trained; lower values prefer likely continuations.
        best_of: chooses among several candidates; None generates one.
        progress: see `Progress`.

    Raises:
        ReleaseError: the release is not a generator, or its output is not finite.
        ConfigurationError: the release or the judge does not know the style.
    """
    release.expect_task("generator")
    classes = release.manifest.classes
    if style not in classes:
        raise ConfigurationError(
            f"The release does not know the style '{style}'.", hint=f"Choose from {', '.join(classes)}."
        )
    spec = release.manifest.features
    samples = round(seconds * spec.sample_rate)
    frames = max(2, math.ceil(samples / spec.hop_length) + 1)
    if best_of is not None:
        best_of.expect_style(style)
    generator = torch.Generator().manual_seed(_seed(seed, index))
    levels = _spectrogram(release, style, frames, generator, temperature, best_of, progress)
    audio = long_audio(vocoder_of(spec), levels, generator, lambda part, _: progress(frames + part, 2 * frames))
    return _faded_and_limited(_finite(audio[:samples]), spec.sample_rate).numpy()


def _spectrogram(
    release: Release,
    style: str,
    frames: int,
    generator: torch.Generator,
    temperature: float,
    best_of: BestOf | None,
    progress: Progress,
) -> Tensor:
    """Levels in dB, `[n_mels, frames]`."""
    family, spec = cast(Generator, release.family), release.manifest.features
    constants = cast(SpectrogramNormalisation, release.constants)  # every release of this task has these
    count = best_of.candidates if best_of else 1
    judged = math.ceil(best_of.seconds * spec.sample_rate / spec.hop_length) + 1 if best_of else 0
    targets = torch.full((count,), release.manifest.classes.index(style))
    parts: list[Tensor] = []
    drawn, chosen = 0, slice(count)
    for piece in family.sample(release.model, targets, generator, temperature=temperature):
        parts.append(_finite(constants.decibels(piece[chosen])))
        drawn += piece.shape[2]
        progress(min(drawn, frames), 2 * frames)
        if best_of and 0 < judged <= drawn:
            candidates = torch.cat(parts, dim=2)
            best = best_of.choose(list(candidates[:, :, :judged]), spec, style)
            parts, chosen, judged = [candidates[best : best + 1]], slice(best, best + 1), 0
        if drawn >= frames and not judged:
            break
    return torch.cat(parts, dim=2)[0, :, :frames]


def _finite(numbers: Tensor) -> Tensor:
    if not numbers.isfinite().all():
        raise no_sound()
    return numbers


def _faded_and_limited(audio: Tensor, sample_rate: int) -> Tensor:
    """Audio faded at both ends and scaled to at most `PEAK`."""
    width = min(round(FADE_SECONDS * sample_rate), len(audio) // 2)
    rise = torch.linspace(0, 1, width)
    audio[:width] *= rise
    audio[len(audio) - width :] *= rise.flip(0)
    peak = float(audio.abs().max()) if len(audio) else 0.0
    return audio * (PEAK / peak) if peak > PEAK else audio


def _seed(seed: int, index: int) -> int:
    """The seed of one piece; piece 0 equals that of a single piece."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:8]) >> 1
