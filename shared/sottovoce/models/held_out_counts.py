"""Real figures of held-out tracks as whole numbers, so that they can be summed under masks: coarse, and within bounds.

No noise covers these sums: whoever gets one learns log2 of as many bits as it has steps (`docs/security.md`). So there
are no more steps than the figures are read by.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


@dataclass(frozen=True)
class CountedFigure:
    """How one figure of a track is counted: as steps above the least that it can count as.

    Args:
        least: what no track counts less than; counters are not negative.
        most: what no track counts more than, and a figure that is not a number counts as.
        step: the resolution.
    """

    least: float
    most: float
    step: float

    @property
    def steps(self) -> int:
        """The largest count of a track."""
        return round((self.most - self.least) / self.step)

    def bounded(self, figures: Tensor) -> Tensor:
        """Figures within the bounds, float64; a broken model (NaN) counts as the worst one, not as none."""
        return figures.to(torch.float64).nan_to_num(nan=self.most).clamp(self.least, self.most)

    def steps_of(self, figures: Tensor) -> Tensor:
        """Whole steps above the least, int64, of figures of any shape."""
        return ((self.bounded(figures) - self.least) / self.step).round().long()

    def mean(self, steps: ArrayLike, tracks: ArrayLike) -> NDArray[np.float64]:
        """The mean figure of so many tracks whose steps add up to so many; `least` of none."""
        return self.least + self.step * np.asarray(steps, np.float64) / np.maximum(tracks, 1)
