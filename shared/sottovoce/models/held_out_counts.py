"""Real figures of held-out tracks as whole numbers, within bounds, so that they can be summed, noised and masked."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


@dataclass(frozen=True)
class CountedFigure:
    """How one figure of a track is counted: as steps above or below the middle of its range.

    Args:
        least: smallest figure that is told apart; lower ones count as this.
        most: largest figure, likewise; a figure that is not a number counts as this.
        reach: the largest count of a track, in either direction.
    """

    least: float
    most: float
    reach: int

    @property
    def middle(self) -> float:
        """What counts as 0."""
        return (self.least + self.most) / 2

    @property
    def step(self) -> float:
        """The resolution."""
        return (self.most - self.least) / (2 * self.reach)

    def bounded(self, figures: Tensor) -> Tensor:
        """Figures within the bounds, float64; a broken model (NaN) counts as the worst one, not as none."""
        return figures.to(torch.float64).nan_to_num(nan=self.most).clamp(self.least, self.most)

    def steps_of(self, figures: Tensor) -> Tensor:
        """Whole steps from the middle, int64, of figures of any shape."""
        return ((self.bounded(figures) - self.middle) / self.step).round().long()

    def mean(self, steps: ArrayLike, tracks: ArrayLike) -> NDArray[np.float64]:
        """The mean figure of so many tracks whose steps add up to so many, within the bounds."""
        mean = self.middle + self.step * np.asarray(steps, np.float64) / np.maximum(tracks, 1)
        return np.clip(mean, self.least, self.most)

    def deviation(self, noise: float, tracks: float) -> float:
        """Standard deviation of such a mean where each sum has noise of this one, in steps."""
        return self.step * noise / max(tracks, 1.0)


def by_style(
    tracks: NDArray[np.float64],
    losses: NDArray[np.float64],
    loss: CountedFigure,
    classes: tuple[str, ...],
    noise_std: float,
    weight: int,
) -> dict[str, Any]:
    """Mean losses over all styles and of each, from sums that may be noisy.

    Args:
        tracks: of each style, `[classes]`.
        losses: their summed losses in steps, `[classes]`.
        loss: how a loss was counted.
        classes: the styles.
        noise_std: of the noise on each counter.
        weight: of a track in the counter of tracks.
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
