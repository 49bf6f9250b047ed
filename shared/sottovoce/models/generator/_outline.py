"""A clip's outline: a few quantised numbers for properties that are constant over a clip: timbre, density, tempo."""

from dataclasses import dataclass

import torch
from torch import Tensor

PARTS = 32
"""Number of parts of the spectrum; each combines neighbouring bands."""
LAGS = (4, 5, 6, 7, 8, 10, 12, 14, 16, 19, 22, 26, 31, 37, 44, 52)
"""Lags at which rhythmic repetition is measured, frames of 23 ms."""
STATISTICS = 3 * PARTS + len(LAGS)
NUMBERS = 16
LEVELS = 15
STEP = 0.4
"""Distance between levels, in deviations."""
_TINY = 1e-3


@dataclass(frozen=True)
class Outline:
    """Quantised principal components of a clip's statistics.

    Args:
        mean: mean of the statistics, `[STATISTICS]`.
        basis: maps statistics to components of unit deviation, `[STATISTICS, NUMBERS]`.
    """

    mean: Tensor
    basis: Tensor

    def encode(self, features: Tensor) -> Tensor:
        """Numbers `[batch, NUMBERS]`, int64, below `LEVELS`, of spectrograms `[batch, bands, frames]`."""
        found = (statistics(features) - self.mean) @ self.basis
        half = LEVELS // 2
        return (found / STEP).nan_to_num().round().clamp(-half, half).long() + half


def values(numbers: Tensor) -> Tensor:
    """Values of numbers, in deviations: the same shape, float32."""
    return (numbers - LEVELS // 2) * STEP


def statistics(features: Tensor) -> Tensor:
    """Each part's mean, deviation and mean change, and the onsets' autocorrelation at some lags: `[batch, STATISTICS]`.

    Args:
        features: spectrograms `[batch, bands, frames]`, normalised, of at least two frames.
    """
    parts = features.reshape(len(features), PARTS, -1, features.shape[2]).mean(dim=2)
    rise = features.diff(dim=2).clamp(min=0).mean(dim=1)
    rise = rise - rise.mean(dim=1, keepdim=True)
    power = rise.square().mean(dim=1) + _TINY
    alike = [
        (rise[:, lag:] * rise[:, : rise.shape[1] - lag]).mean(dim=1) / power
        if lag < rise.shape[1]
        else torch.zeros(len(rise))
        for lag in LAGS
    ]
    return torch.cat(
        [parts.mean(dim=2), parts.std(dim=2, correction=0), parts.diff(dim=2).abs().mean(dim=2), torch.stack(alike, 1)],
        dim=1,
    )
