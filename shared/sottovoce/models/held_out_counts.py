"""Real figures of held-out tracks as bounded whole numbers, which can be summed, noised and masked."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


@dataclass(frozen=True)
class CountedFigure:
    """How one figure of a track is counted: in steps above or below the middle of its range.

    Args:
        least: lower end of the range; smaller figures are clamped to it.
        most: upper end of the range; larger figures, and NaN, are clamped to it.
        reach: largest count of a track, in either direction.
    """

    least: float
    most: float
    reach: int

    @property
    def middle(self) -> float:
        """The figure that counts as 0."""
        return (self.least + self.most) / 2

    @property
    def step(self) -> float:
        """Resolution: the figure's change per step."""
        return (self.most - self.least) / (2 * self.reach)

    def bounded(self, figures: Tensor) -> Tensor:
        """Figures clamped to the range, float64; NaN, from a broken model, becomes the worst value."""
        return figures.to(torch.float64).nan_to_num(nan=self.most).clamp(self.least, self.most)

    def steps_of(self, figures: Tensor) -> Tensor:
        """Whole steps from the middle, int64, for figures of any shape."""
        return ((self.bounded(figures) - self.middle) / self.step).round().long()

    def mean(self, steps: ArrayLike, tracks: ArrayLike) -> NDArray[np.float64]:
        """The mean figure from summed steps and a number of tracks, within the range."""
        mean = self.middle + self.step * np.asarray(steps, np.float64) / np.maximum(tracks, 1)
        return np.clip(mean, self.least, self.most)

    def deviation(self, noise: float, tracks: float) -> float:
        """Standard deviation of such a mean when each sum has this noise, in steps."""
        return self.step * noise / max(tracks, 1.0)


def by_style(
    tracks: NDArray[np.float64],
    losses: NDArray[np.float64],
    loss: CountedFigure,
    classes: tuple[str, ...],
    noise_std: float,
    weight: int,
) -> dict[str, Any]:
    """Mean losses overall and per style, from sums that may be noisy.

    Args:
        tracks: number of tracks of each style, `[classes]`.
        losses: their summed losses in steps, `[classes]`.
        loss: counting of a loss.
        classes: names of the styles.
        noise_std: standard deviation of the noise on each counter.
        weight: weight of a track in the counter of tracks.
    """
    count, means = max(float(tracks.sum()), 0.0), loss.mean(losses, tracks)
    found: dict[str, Any] = {
        "tracks": round(count),
        "loss": float(loss.mean(losses.sum(), count)),
        "loss_by_style": {
            name: float(mean) if number >= 0.5 else None
            for name, mean, number in zip(classes, means, tracks, strict=True)
        },
    }
    if noise_std:
        root = len(classes) ** 0.5
        found["noise"] = {"loss": loss.deviation(noise_std * root, count), "tracks": noise_std * root / weight}
    return found
