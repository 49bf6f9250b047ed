"""A clip's outline: a few whole numbers for what stays the same all through it, such as timbre, density and tempo."""

from dataclasses import dataclass

import torch
from torch import Tensor

PARTS = 32
"""Neighbouring bands are taken together to so many parts of the spectrum."""
LAGS = (4, 5, 6, 7, 8, 10, 12, 14, 16, 19, 22, 26, 31, 37, 44, 52)
"""Frames (23 ms each) after which a rhythm may come again."""
STATISTICS = 3 * PARTS + len(LAGS)
NUMBERS = 16
LEVELS = 15
STEP = 0.4
"""Deviations from one level to the next."""
_TINY = 1e-3


@dataclass(frozen=True)
class Outline:
    """Principal components of a clip's statistics, rounded.

    Args:
        mean: of the statistics, `[STATISTICS]`.
        basis: takes statistics to components of unit deviation, `[STATISTICS, NUMBERS]`.
    """

    mean: Tensor
    basis: Tensor

    def encode(self, features: Tensor) -> Tensor:
        """Numbers `[batch, NUMBERS]`, int64, below `LEVELS`, of spectrograms `[batch, bands, frames]`."""
        found = (statistics(features) - self.mean) @ self.basis
        half = LEVELS // 2
        return (found / STEP).nan_to_num().round().clamp(-half, half).long() + half


def values(numbers: Tensor) -> Tensor:
    """What numbers stand for, in deviations: the same shape, float32."""
    return (numbers - LEVELS // 2) * STEP


def statistics(features: Tensor) -> Tensor:
    """`[batch, STATISTICS]`: each part's mean, deviation and mean change, and how alike onsets are after some lags.

    Args:
        features: spectrograms `[batch, bands, frames]`, normalised, of two frames or more.
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
