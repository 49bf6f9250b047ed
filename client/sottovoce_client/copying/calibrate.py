"""How close is too close: closer than tracks that were never trained on come, by more than chance explains.

Held-out tracks are music like the catalogue's that no model has seen. The logarithms of their scores are taken for
normally distributed, and the bound for further ones is Student's prediction interval, by which few tracks say little.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import CatalogueError

LEAST_HELD_OUT = 5
"""Tracks below which there is nothing to calibrate by."""
DUPLICATE_DISTANCE, DUPLICATE_SHARE = 0.12, 0.25
"""A held-out excerpt as close as this by both tests is a recording that was trained on, too, under another digest."""
_LEAST_SHARE, _LEAST_DISTANCE = 1e-3, 1e-3


@dataclass(frozen=True)
class Bounds:
    """From where on an excerpt counts as copied.

    Args:
        distance: to the nearest neighbour, below which it is.
        share: of the fingerprint's pairs, above which it is.
        held_out: tracks that say so.
        duplicates: held-out tracks that were left out, being recordings that were trained on.
    """

    distance: float
    share: float
    held_out: int
    duplicates: int

    def exceeded(self, distances: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which excerpts are copies, by one test or the other; the arguments are of the same shape."""
        found: NDArray[np.bool_] = (distances < self.distance) | (shares > self.share)
        return found


def bounds(
    distances: NDArray[np.float64], shares: NDArray[np.float64], *, excerpts: int, false_alarms: float
) -> Bounds:
    """Bounds that excerpts no closer to the catalogue than held-out tracks are exceed seldom.

    Args:
        distances: of one excerpt of each held-out track to its nearest neighbour, `[tracks]`.
        shares: of the fingerprint's pairs, likewise.
        excerpts: how many are to be tested, each by two tests.
        false_alarms: probability that one or more of them exceed a bound, although none is a copy.

    Raises:
        CatalogueError: there are fewer than `LEAST_HELD_OUT` tracks to calibrate by.
    """
    copied = (distances < DUPLICATE_DISTANCE) & (shares > DUPLICATE_SHARE)
    duplicates = int(copied.sum())
    near, alike = distances[~copied], shares[~copied]
    expect_enough(len(near), duplicates)
    each = false_alarms / (2 * excerpts)
    # No excerpt is taken for a copy that is not closer than every held-out track, however narrowly they scatter.
    least = min(_below(np.maximum(near, _LEAST_DISTANCE), each), float(near.min()))
    most = max(1 / _below(1 / np.maximum(alike, _LEAST_SHARE), each), float(alike.max()))
    return Bounds(least, most, len(near), duplicates)


def expect_enough(tracks: int, duplicates: int = 0) -> None:
    """Refuse to calibrate by too few tracks.

    Raises:
        CatalogueError: there are fewer than `LEAST_HELD_OUT`.
    """
    if tracks < LEAST_HELD_OUT:
        same = f", not counting {duplicates} that were trained on as another file" if duplicates else ""
        raise CatalogueError(
            f"The audit has {tracks} held-out tracks to compare with{same}, and needs {LEAST_HELD_OUT}.",
            hint="It needs tracks for the release's styles whose artists a run holds out: a larger catalogue has more.",
        )


def _below(values: NDArray[np.float64], probability: float) -> float:
    """What one further value lies below with a probability, its logarithm being normal like those of `values`."""
    from scipy.stats import t

    logarithms = np.log(values)
    spread = float(logarithms.std(ddof=1)) * math.sqrt(1 + 1 / len(values))
    return math.exp(float(logarithms.mean()) + float(t.ppf(probability, len(values) - 1)) * spread)
