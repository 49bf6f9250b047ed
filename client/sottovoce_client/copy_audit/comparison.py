"""The catalogue streams past the excerpts: two tests, and which track each excerpt is closest to by each."""

from collections.abc import Iterable, Sequence

import numpy as np

from sottovoce_client.copy_audit.excerpt import Excerpt
from sottovoce_client.copy_audit.landmarks import LEAST_SHARE, Landmarks
from sottovoce_client.copy_audit.neighbours import Neighbours
from sottovoce_client.copy_audit.sketch import Sketch

NOWHERE = -1
SHORT, LONG = 0, 1
"""The tests, rows of `Closest.scores`: 4 s by chromagram and fingerprint together, and 8 s by chromagram alone."""
TESTS = (SHORT, LONG)
SHARE_POWER = 0.75
"""What the fingerprint's share is taken to, before the distance is divided by it."""


class Closest:
    """What each of some excerpts has come closest to so far.

    The score of 4 s is their distance, divided by a power of the fingerprint's share in the same track. A chord that is
    held is near to many another, but shares no peaks with it; what shares peaks by chance is not near.

    Memory is that of the excerpts; tracks are looked at one by one, and forgotten.

    Args:
        excerpts: all that tracks are to be compared with.
        groups: of each excerpt, whose tracks it is not compared with; None for all tracks.

    Attributes:
        scores: of each excerpt by each test, less the closer, `[len(TESTS), excerpts]`; infinite where there is none.
        near: number of the track that is closest, likewise; `NOWHERE` where there is none.
    """

    def __init__(self, excerpts: Sequence[Excerpt], groups: Sequence[str | None] | None = None) -> None:
        self._groups = np.array([group or "" for group in groups or [None] * len(excerpts)], dtype=object)
        self._landmarks = Landmarks(excerpts)
        self._short = Neighbours([excerpt.chroma for excerpt in excerpts])
        self._has_long = np.array([excerpt.long is not None for excerpt in excerpts], dtype=bool)
        self._long = Neighbours([excerpt.long for excerpt in excerpts if excerpt.long is not None])
        self.scores = np.full((len(TESTS), len(excerpts)), np.inf)
        self.near = np.full((len(TESTS), len(excerpts)), NOWHERE)

    def look_at(self, number: int, track: Sketch, group: str = "another") -> None:
        """Compare with one track, of a group that is not the empty one."""
        shares = np.maximum(self._landmarks.shares(track), LEAST_SHARE)
        scores = np.full_like(self.scores, np.inf)
        scores[SHORT] = self._short.distances(track) / shares**SHARE_POWER
        scores[LONG, self._has_long] = self._long.distances(track)
        nearer = (self._groups != group) & (scores < self.scores)
        self.scores[nearer], self.near[nearer] = scores[nearer], number


def closest(excerpts: Sequence[Excerpt], tracks: Iterable[Sketch]) -> Closest:
    """What excerpts come closest to among tracks, which are numbered from 0."""
    found = Closest(excerpts)
    for number, track in enumerate(tracks):
        found.look_at(number, track)
    return found
