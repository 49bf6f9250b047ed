"""Thresholds of the copy audit: how much closer than uncopied tracks an excerpt must be to count as a copy.

Held-out tracks calibrate the thresholds: no model has seen them, and nothing by their artists was trained on. If there
are too few, training tracks are added, each compared only with those of other artists. Each track contributes its
closest excerpt, since excerpts of one track depend on each other.

The tail is fitted to the closest quarter of the tracks. The probability that a nearest-neighbour distance falls below a
small value is a power of that value (the local intrinsic dimension; Amsaleg et al., KDD 2015), so the logarithms of
scores have an exponential tail. Its quantile for further tracks does not depend on the unknown slope.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import CatalogueError
from sottovoce_client.copy_audit.comparison import SHORT, TESTS

LEAST_TRACKS = 20
"""Least number of tracks for calibration; with fewer, a threshold would be so strict that even an exact copy passed."""
TAIL = 1 / 4
"""Share of the tracks that the tail is fitted to, though never fewer than `LEAST_TAIL` tracks."""
LEAST_TAIL = 8
DUPLICATE = 0.12
"""Score of the 4 s test below which a calibration track counts as a duplicate of a recording in another file."""
_LEAST_SCORE = 1e-3


@dataclass(frozen=True)
class Bounds:
    """The thresholds below which an excerpt counts as copied.

    Args:
        scores: threshold of each test; 0 for a test that could not be calibrated.
        tracks: number of tracks used for calibration.
        duplicates: number of tracks left out because another file holds the same recording.
    """

    scores: tuple[float, ...]
    tracks: int
    duplicates: int

    def closeness(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Threshold over score, above 1 for a copy; shape as `scores`, `[len(TESTS), excerpts]`."""
        return np.asarray(np.array(self.scores)[:, None] / np.maximum(scores, _LEAST_SCORE), dtype=np.float64)

    def exceeded(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which excerpts are copies by either test, `[excerpts]`."""
        return np.asarray(self.closeness(scores).max(axis=0) > 1)


def bounds(
    scores: NDArray[np.float64], of: NDArray[np.int64], *, tested: NDArray[np.float64], false_alarms: float
) -> Bounds:
    """Calibrate the thresholds so that excerpts as close to the catalogue as the calibration tracks rarely cross them.

    Args:
        scores: scores of the calibration tracks' excerpts by each test, `[len(TESTS), n]`; infinite without a score.
        of: track number of each excerpt, `[n]`.
        tested: the scores to be tested, `[len(TESTS), m]`; only their number is used.
        false_alarms: probability that at least one of them crosses a threshold although none is a copy.

    Raises:
        CatalogueError: there are fewer than `LEAST_TRACKS` tracks for calibration.
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
        # The tested excerpts count as further tracks with as many excerpts each as a calibration track.
        further = max(1.0, np.isfinite(tested[test]).sum() / max(counts.mean(), 1.0)) if len(counts) else 1.0
        enough = len(counts) >= LEAST_TRACKS
        found.append(below(closest, false_alarms / len(TESTS) / further) if enough else 0.0)
    return Bounds(tuple(found), tracks, len(duplicates))


def expect_enough(tracks: int, duplicates: int = 0) -> None:
    """Refuse to calibrate with too few tracks.

    Raises:
        CatalogueError: there are fewer than `LEAST_TRACKS` tracks.
    """
    if tracks < LEAST_TRACKS:
        same = f", not counting {duplicates} whose recording is in another file too" if duplicates else ""
        raise CatalogueError(
            f"Too few tracks to tell a copy from music like it: {tracks}{same}, where {LEAST_TRACKS} are needed.",
            hint="Add tracks in the release's styles by more artists.",
        )


def below(scores: NDArray[np.float64], probability: float) -> float:
    """The threshold that one further score falls below with at most this probability, given an exponential tail.

    The tail is that of the scores' logarithms. Let u be the (k + 1)-th smallest of n. A further score is below u with
    probability (k + 1) / (n + 1). Distances from u are exponential, so it is then below u by more than x times the sum
    of the k smallest scores' distances with probability (1 + x)^-k. The result is at most the least score, so that a
    copy must be closer than every calibration track.

    Args:
        scores: independent of each other, above 0, `[n]` with n above `LEAST_TAIL`.
        probability: far below 1 / n.
    """
    logarithms = np.log(np.maximum(np.sort(scores), _LEAST_SCORE))
    k = max(int(TAIL * len(scores)), min(LEAST_TAIL, len(scores) - 1))
    tail = logarithms[k] - logarithms[:k]
    times = ((k + 1) / (len(scores) + 1) / probability) ** (1 / k) - 1
    return float(np.exp(min(logarithms[k] - times * tail.sum(), logarithms[0])))
