"""Augmentation of log-mel segments during training, each segment independently."""

import torch
from torch import Tensor


def spec_augment(features: Tensor, generator: torch.Generator, *, bands: float = 0.1, frames: float = 0.1) -> Tensor:
    """Mask one random band of frequencies and one stretch of time with the mean (SpecAugment, Park et al., 2019).

    Args:
        features: `[batch, n_mels, frames]`, normalised, so that the mean is 0.
        generator: source of the random stretches, drawn separately for each segment.
        bands: largest share of the mel bands that is masked.
        frames: largest share of the frames that is masked.
    """
    keep = ~_stretches(features, 1, bands, generator)[:, :, None] & ~_stretches(features, 2, frames, generator)[:, None]
    return features * keep


def _stretches(features: Tensor, axis: int, share: float, generator: torch.Generator) -> Tensor:
    """A random stretch of each segment along an axis, as a mask `[batch, size of the axis]`."""
    batch, size = features.shape[0], features.shape[axis]
    width = torch.rand(batch, 1, generator=generator) * share * size
    start = torch.rand(batch, 1, generator=generator) * (size - width)
    position = torch.arange(size)
    return (position >= start) & (position < start + width)
