"""What training does to a spectrogram for an editor to undo: stretches go missing, noise comes upon it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sottovoce.models.editor._conditioning import Observed, observe
from sottovoce.models.editor._noise import Levels, with_noise

CROP = 96
"""Frames of an example: 2.2 s."""
SHORTEST, LONGEST = 4, 64
"""Frames that go missing: those that a gap of 20 ms touches, to 1.5 s. Never more than `LARGEST_SHARE`
of an example."""
LARGEST_SHARE = 0.7
GAPS, NOISES = 0.5, 0.8
"""Below the first only frames go missing, below the second noise is added instead, above it both."""
ENDING, BEGINNING = 0.2, 0.05
"""How often what is missing is all that follows (which teaches how music goes on), or all that came before."""


@dataclass(frozen=True)
class Example:
    """Spectrograms as an editor sees them, and as they were.

    Args:
        observed: without what is missing, under noise.
        clean: `[batch, bands, frames]`.
        counted: the frames whose error counts, bool, `[batch, frames]`: all of a noisy example, the missing ones else.
    """

    observed: Observed
    clean: Tensor
    counted: Tensor


def corrupted(levels: Levels, features: Tensor, generator: torch.Generator) -> Example:
    """Every example of `[batch, bands, frames]` cropped and corrupted by draws of its own."""
    clean = _cropped(features, generator)
    batch, _, frames = clean.shape
    what = torch.rand(batch, generator=generator)
    noisy = what >= GAPS
    under_noise, alone = with_noise(levels, clean, generator)
    clean = torch.where(noisy[:, None, None], alone, clean)
    heard = torch.where(noisy[:, None, None], under_noise, clean)
    missing = _stretch(batch, frames, generator) & ((what < GAPS) | (what >= NOISES))[:, None]
    return Example(observe(heard, missing, noisy), clean, missing | noisy[:, None])


def _cropped(features: Tensor, generator: torch.Generator) -> Tensor:
    batch, bands, frames = features.shape
    size = min(CROP, frames)
    starts = (torch.rand(batch, 1, generator=generator) * (frames - size + 1)).long()
    at = starts + torch.arange(size)
    return features.gather(2, at[:, None].expand(batch, bands, size))


def _stretch(batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """One stretch of each example, bool, `[batch, frames]`; short ones are as likely as long ones by ratio."""
    length, start, where = torch.rand(3, batch, 1, generator=generator)
    longest = max(1.0, min(LONGEST, LARGEST_SHARE * frames))
    shortest = min(SHORTEST, longest)
    size = torch.exp(math.log(shortest) + (math.log(longest) - math.log(shortest)) * length).round()
    begin = (start * (frames - size + 1)).floor()
    begin = torch.where(where < ENDING, frames - size, begin)
    begin = torch.where(where >= 1 - BEGINNING, 0.0, begin)
    places = torch.arange(frames)
    return (places >= begin) & (places < begin + size)
