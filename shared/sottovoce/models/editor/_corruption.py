"""Corruption of training examples for an editor to undo: missing stretches and added noise."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sottovoce.models.editor._conditioning import Observed, observe
from sottovoce.models.editor._noise import Levels, with_noise

CROP = 96
"""Length of an example, frames (2.2 s)."""
SHORTEST, LONGEST = 4, 64
"""Shortest and longest missing stretch, frames: 20 ms to 1.5 s. At most `LARGEST_SHARE` of an example."""
LARGEST_SHARE = 0.7
GAPS, NOISES = 0.5, 0.8
"""Thresholds of a uniform draw: below the first only frames are missing, below the second only noise, above it both."""
ENDING, BEGINNING = 0.2, 0.05
"""Probabilities that a gap reaches the end (which trains continuation) or the beginning of an example."""


@dataclass(frozen=True)
class Example:
    """Corrupted spectrograms and their clean originals.

    Args:
        observed: the corrupted input, without missing frames.
        clean: `[batch, bands, frames]`.
        counted: frames whose error counts, bool, `[batch, frames]`: all if noisy, otherwise the missing ones.
    """

    observed: Observed
    clean: Tensor
    counted: Tensor


def corrupted(levels: Levels, features: Tensor, generator: torch.Generator) -> Example:
    """Crop and corrupt every example of `[batch, bands, frames]` independently."""
    clean = _cropped(features, generator)
    batch, _, frames = clean.shape
    what = torch.rand(batch, generator=generator)
    noisy = what >= GAPS
    under_noise, alone = with_noise(levels, clean, generator)
    clean = torch.where(noisy[:, None, None], alone, clean)
    corrupted_input = torch.where(noisy[:, None, None], under_noise, clean)
    missing = _stretch(batch, frames, generator) & ((what < GAPS) | (what >= NOISES))[:, None]
    return Example(observe(corrupted_input, missing, noisy), clean, missing | noisy[:, None])


def _cropped(features: Tensor, generator: torch.Generator) -> Tensor:
    batch, bands, frames = features.shape
    size = min(CROP, frames)
    starts = (torch.rand(batch, 1, generator=generator) * (frames - size + 1)).long()
    at = starts + torch.arange(size)
    return features.gather(2, at[:, None].expand(batch, bands, size))


def _stretch(batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """One random stretch per example, bool, `[batch, frames]`; its length is log-uniform."""
    length, start, where = torch.rand(3, batch, 1, generator=generator)
    longest = max(1.0, min(LONGEST, LARGEST_SHARE * frames))
    shortest = min(SHORTEST, longest)
    size = torch.exp(math.log(shortest) + (math.log(longest) - math.log(shortest)) * length).round()
    begin = (start * (frames - size + 1)).floor()
    begin = torch.where(where < ENDING, frames - size, begin)
    begin = torch.where(where >= 1 - BEGINNING, 0.0, begin)
    places = torch.arange(frames)
    return (places >= begin) & (places < begin + size)
