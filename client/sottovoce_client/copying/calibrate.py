"""How close is too close: closer than tracks that were not copied come, by more than chance explains.

Held-out tracks are music like the catalogue's that no model has seen, by artists of whom nothing was trained on. Where
they are few, tracks that were trained on help out, each compared with those of other artists only. The logarithms of
their scores are taken for normally distributed, and the bound for further ones is Student's prediction interval, by
which few tracks say little.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import CatalogueError

LEAST_TRACKS = 5
"""Below which there is nothing to calibrate by."""
DUPLICATE_DISTANCE, DUPLICATE_SHARE = 0.12, 0.25
"""An excerpt to calibrate by that is as close as this by both tests is a recording that lies there in another file."""
_LEAST_SHARE, _LEAST_DISTANCE = 1e-3, 1e-3


@dataclass(frozen=True)
class Bounds:
    """From where on an excerpt counts as copied.

    Args:
        distance: to the nearest neighbour, below which it is.
        share: of the fingerprint's pairs, above which it is.
        tracks: that say so.
        duplicates: tracks that were not asked, being recordings that are there in another file as well.
    """

    distance: float
    share: float
    tracks: int
    duplicates: int

    def exceeded(self, distances: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which excerpts are copies, by one test or the other; the arguments are of the same shape."""
        found: NDArray[np.bool_] = (distances < self.distance) | (shares > self.share)
        return found


def bounds(
    distances: NDArray[np.float64],
    shares: NDArray[np.float64],
    of: NDArray[np.int64],
    *,
    excerpts: int,
    false_alarms: float,
) -> Bounds:
    """Bounds that excerpts no closer to the catalogue than the tracks to calibrate by exceed seldom.

    Args:
        distances: of excerpts of those tracks to their nearest neighbours, `[n]`.
        shares: of the fingerprint's pairs, `[n]`.
        of: number of each excerpt's track, `[n]`.
        excerpts: how many are to be tested, each by two tests.
        false_alarms: probability that one or more of them exceed a bound, although none is a copy.

    Raises:
        CatalogueError: there are fewer than `LEAST_TRACKS` to calibrate by.
    """
    copied = np.unique(of[(distances < DUPLICATE_DISTANCE) & (shares > DUPLICATE_SHARE)])
    kept = ~np.isin(of, copied)
    near, alike, tracks = distances[kept], shares[kept], len(np.unique(of[kept]))
    expect_enough(tracks, len(copied))
    each = false_alarms / (2 * excerpts)
    # No excerpt is taken for a copy that is not closer than each of those, however narrowly they scatter.
    least = min(_below(np.maximum(near, _LEAST_DISTANCE), tracks, each), float(near.min()))
    most = max(1 / _below(1 / np.maximum(alike, _LEAST_SHARE), tracks, each), float(alike.max()))
    return Bounds(least, most, tracks, len(copied))


def expect_enough(tracks: int, duplicates: int = 0) -> None:
    """Refuse to calibrate by too few tracks.

    Raises:
        CatalogueError: there are fewer than `LEAST_TRACKS`.
    """
    if tracks < LEAST_TRACKS:
        same = f", not counting {duplicates} that are there in two files" if duplicates else ""
        raise CatalogueError(
            f"Too few tracks to tell a copy from music like it: {tracks}{same}, where {LEAST_TRACKS} are needed.",
            hint="It takes tracks of the release's styles by more than one artist.",
        )


def _below(values: NDArray[np.float64], tracks: int, probability: float) -> float:
    """What one further value lies below with a probability, its logarithm being distributed as those of `values`.

    The two halves of a normal distribution may be of different widths; only the lower one counts here. Excerpts of one
    track depend on each other, so that what is known grows with the tracks.
    """
    from scipy.stats import t

    logarithms = np.log(values)
    middle = float(np.median(logarithms))
    lower = logarithms[logarithms <= middle] - middle
    spread = math.sqrt(float(np.mean(lower**2)) * (1 + 1 / tracks))
    return math.exp(middle + float(t.ppf(probability, tracks - 1)) * spread)
