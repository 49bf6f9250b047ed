"""What every vocoder does, and how a long spectrogram goes through one in parts."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from sottovoce.audio.overlap_add import overlap_add

Progress = Callable[[int, int], None]
"""Told how many frames of how many are done."""

CHUNK_FRAMES = 1024
"""Frames that become audio at a time: memory does not grow with what a vocoder needs beside its result."""
OVERLAP_FRAMES = 32


class Vocoder(Protocol):
    """Makes audio of spectrograms."""

    hop_length: int

    def audio(self, levels: Tensor, generator: torch.Generator) -> Tensor:
        """One piece of audio, `[(frames - 1) · hop_length]`, full scale 1.

        Args:
            levels: in dB, as `sottovoce.features.spectrogram.decibels` gives them, `[n_mels, frames]`.
            generator: of the phases that it starts from.
        """
        ...


def long_audio(
    vocoder: Vocoder, levels: Tensor, generator: torch.Generator, progress: Progress = lambda _, __: None
) -> Tensor:
    """Audio of a spectrogram of any length, `[(frames - 1) · hop_length]`.

    It goes through the vocoder in parts that overlap. Their phases have nothing to do with each other, so that they
    are faded into one another with equal power, over a time in which no click and no dip is left.

    Args:
        vocoder: what makes audio of a part.
        levels: in dB, `[n_mels, frames]`, two frames or more.
        generator: of all phases.
        progress: told after each part.
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
    """First frame and the one after the last of each part; the last part is not shorter than two overlaps."""
    start = 0
    while frames - start > CHUNK_FRAMES + 2 * OVERLAP_FRAMES:
        yield start, start + CHUNK_FRAMES
        start += CHUNK_FRAMES - OVERLAP_FRAMES
    yield start, frames
