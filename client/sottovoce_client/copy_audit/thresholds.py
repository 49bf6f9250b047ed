"""How close is too close: closer than tracks that were not copied come, by more than chance explains.

Held-out tracks are music like the catalogue's that no model has seen, by artists of whom nothing was trained on. Where
they are few, tracks that were trained on help out, each compared with those of other artists only. Of each, what counts
is the closest of its excerpts, since excerpts of one track depend on each other.

How seldom tracks come how close is told from the closest quarter. The distance to a nearest neighbour falls below a
small one with a probability that goes with a power of it (the local intrinsic dimension; Amsaleg et al., KDD 2015), so
that logarithms of scores have an exponential tail. Of that, a quantile for further tracks is known without its slope.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import CatalogueError
from sottovoce_client.copy_audit.comparison import SHORT, TESTS

LEAST_TRACKS = 20
"""Below which a bound would be so close that not even an exact copy came closer."""
TAIL = 1 / 4
"""Share of the tracks that say how the tail goes, and not fewer than `LEAST_TAIL` of them."""
LEAST_TAIL = 8
DUPLICATE = 0.12
"""A track to calibrate by whose 4 s score lower than this is a recording that lies there in another file."""
_LEAST_SCORE = 1e-3


@dataclass(frozen=True)
class Bounds:
    """From where on an excerpt counts as copied.

    Args:
        scores: by each test, below which it does; 0 where a test has nothing to be calibrated by.
        tracks: that say so.
        duplicates: tracks that were not asked, being recordings that are there in another file as well.
    """

    scores: tuple[float, ...]
    tracks: int
    duplicates: int

    def closeness(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far beyond each bound each excerpt is, 1 at it: as `scores`, `[len(TESTS), excerpts]`."""
        return np.asarray(np.array(self.scores)[:, None] / np.maximum(scores, _LEAST_SCORE), dtype=np.float64)

    def exceeded(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which excerpts are copies, by one test or the other, `[excerpts]`."""
        return np.asarray(self.closeness(scores).max(axis=0) > 1)


def bounds(
    scores: NDArray[np.float64], of: NDArray[np.int64], *, tested: NDArray[np.float64], false_alarms: float
) -> Bounds:
    """Bounds that excerpts no closer to the catalogue than the tracks to calibrate by exceed seldom.

    Args:
        scores: of excerpts of those tracks by each test, `[len(TESTS), n]`, infinite where there is none.
        of: number of each excerpt's track, `[n]`.
        tested: the scores of what is to be tested, `[len(TESTS), m]`: only how many there are counts.
        false_alarms: probability that one or more of them exceed a bound, although none is a copy.

    Raises:
        CatalogueError: there are fewer than `LEAST_TRACKS` to calibrate by.
    """
    duplicates = np.unique(of[scores[SHORT] < DUPLICATE])
    known = ~np.isin(of, duplicates)
    tracks = len(np.unique(of[known]))
    expect_enough(tracks, len(duplicates))
    found = []
    for test in TESTS:
        usable = known & np.isfinite(scores[test])
        _, number, counts = np.unique(of[usable], return_inverse=True, return_counts=True)
        closest = np.full(len(counts), np.inf)
        np.minimum.at(closest, number, scores[test][usable])
        # What is tested counts as so many further tracks of as many excerpts.
        further = max(1.0, np.isfinite(tested[test]).sum() / max(counts.mean(), 1.0)) if len(counts) else 1.0
        enough = len(counts) >= LEAST_TRACKS
        found.append(below(closest, false_alarms / len(TESTS) / further) if enough else 0.0)
    return Bounds(tuple(found), tracks, len(duplicates))


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


def below(scores: NDArray[np.float64], probability: float) -> float:
    """What one further score lies below with at most a probability, if the tail of their logarithms is exponential.

    Given the k smallest of n and the next one u, a further one is below u with probability (k + 1) / (n + 1), and then,
    the distances from u being exponential, by more than x times the sum of the k others' with probability (1 + x)^-k.
    Never more than the least of the scores: no excerpt is a copy that is not closer than each of those.

    Args:
        scores: independent of each other, above 0, `[n]` with n above `LEAST_TAIL`.
        probability: far below 1 / n.
    """
    logarithms = np.log(np.maximum(np.sort(scores), _LEAST_SCORE))
    k = max(int(TAIL * len(scores)), min(LEAST_TAIL, len(scores) - 1))
    tail = logarithms[k] - logarithms[:k]
    times = ((k + 1) / (len(scores) + 1) / probability) ** (1 / k) - 1
    return float(np.exp(min(logarithms[k] - times * tail.sum(), logarithms[0])))
