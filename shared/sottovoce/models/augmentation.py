"""Training-time changes of log-mel segments, each of one segment alone."""

import torch
from torch import Tensor


def spec_augment(features: Tensor, generator: torch.Generator, *, bands: float = 0.1, frames: float = 0.1) -> Tensor:
    """One masked stretch of frequencies and one of time (SpecAugment, Park et al., Interspeech 2019), set to the mean.

    Args:
        features: `[batch, n_mels, frames]`, normalised, so that the mean is 0.
        generator: what stretches are drawn by; each segment has its own.
        bands: largest share of the mel bands that is masked.
        frames: largest share of the frames that is masked.
    """
    keep = ~_stretches(features, 1, bands, generator)[:, :, None] & ~_stretches(features, 2, frames, generator)[:, None]
    return features * keep


def _stretches(features: Tensor, axis: int, share: float, generator: torch.Generator) -> Tensor:
    """One stretch of each segment along an axis, as a mask `[batch, size of the axis]`."""
    batch, size = features.shape[0], features.shape[axis]
    width = torch.rand(batch, 1, generator=generator) * share * size
    start = torch.rand(batch, 1, generator=generator) * (size - width)
    position = torch.arange(size)
    return (position >= start) & (position < start + width)
