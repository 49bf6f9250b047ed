"""The interface of vocoders, and conversion of long spectrograms in parts."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from sottovoce.audio.overlap_add import overlap_add

Progress = Callable[[int, int], None]
"""Called with the number of frames done, and their total."""

CHUNK_FRAMES = 1024
"""Frames converted at a time, to bound memory."""
OVERLAP_FRAMES = 32


class Vocoder(Protocol):
    """Converts spectrograms to audio."""

    hop_length: int

    def audio(self, levels: Tensor, generator: torch.Generator) -> Tensor:
        """One piece of audio, `[(frames - 1) · hop_length]`, full scale 1.

        Args:
            levels: in dB, as from `sottovoce.features.spectrogram.decibels`, `[n_mels, frames]`.
            generator: source of random initial phases.
        """
        ...


def long_audio(
    vocoder: Vocoder, levels: Tensor, generator: torch.Generator, progress: Progress = lambda _, __: None
) -> Tensor:
    """Audio from a spectrogram of any length, `[(frames - 1) · hop_length]`.

    It is converted in overlapping parts. Their phases are unrelated, so parts are cross-faded with equal power, slowly
    enough to avoid clicks and dips.

    Args:
        vocoder: converts each part.
        levels: in dB, `[n_mels, frames]`, at least two frames.
        generator: source of all random phases.
        progress: called after each part.
    """
    frames = levels.shape[1]
    audio = torch.empty((frames - 1) * vocoder.hop_length)
    rise = torch.sin(0.5 * torch.pi * torch.linspace(0, 1, (OVERLAP_FRAMES - 1) * vocoder.hop_length))

    def parts() -> Iterator[Tensor]:
        for start, stop in _parts(frames):
            yield vocoder.audio(levels[:, start:stop], generator)
            progress(stop, frames)

    done = 0
    for block in overlap_add(parts(), rise, rise.flip(0)):
        audio[done : done + len(block)] = block
        done += len(block)
    return audio


def _parts(frames: int) -> Iterator[tuple[int, int]]:
    """First frame of each part and first frame after it; the last part is at least two overlaps long."""
    start = 0
    while frames - start > CHUNK_FRAMES + 2 * OVERLAP_FRAMES:
        yield start, start + CHUNK_FRAMES
        start += CHUNK_FRAMES - OVERLAP_FRAMES
    yield start, frames
