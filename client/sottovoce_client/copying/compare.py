"""The catalogue streams past the excerpts: both tests, and which track each excerpt is closest to."""

from collections.abc import Iterable, Sequence

import numpy as np

from sottovoce_client.copying.excerpt import Excerpt
from sottovoce_client.copying.landmarks import Landmarks
from sottovoce_client.copying.neighbours import Neighbours
from sottovoce_client.copying.sketch import Sketch

NOWHERE = -1


class Closest:
    """What each of some excerpts has come closest to so far.

    Memory is that of the excerpts; tracks are looked at one by one, and forgotten.

    Args:
        excerpts: all that tracks are to be compared with.
        groups: of each excerpt, whose tracks it is not compared with; None for all tracks.

    Attributes:
        distances: of each excerpt to its nearest neighbour, `[excerpts]`.
        shares: of each excerpt's pairs of peaks that one track has at one offset, `[excerpts]`.
        near: number of the track that is the nearest neighbour, `[excerpts]`; `NOWHERE` before the first one.
        alike: number of the track that has most pairs, likewise.
    """

    def __init__(self, excerpts: Sequence[Excerpt], groups: Sequence[str | None] | None = None) -> None:
        self._groups = np.array([group or "" for group in groups or [None] * len(excerpts)], dtype=object)
        self._landmarks, self._neighbours = Landmarks(excerpts), Neighbours(excerpts)
        self.distances = np.full(len(excerpts), 2.0)
        self.shares = np.zeros(len(excerpts))
        self.near = np.full(len(excerpts), NOWHERE)
        self.alike = np.full(len(excerpts), NOWHERE)

    def look_at(self, number: int, track: Sketch, group: str = "another") -> None:
        """Compare with one track, of a group that is not the empty one."""
        distances, shares = self._neighbours.distances(track), self._landmarks.shares(track)
        others = self._groups != group
        nearer, liker = others & (distances < self.distances), others & (shares > self.shares)
        self.distances[nearer], self.near[nearer] = distances[nearer], number
        self.shares[liker], self.alike[liker] = shares[liker], number


def closest(excerpts: Sequence[Excerpt], tracks: Iterable[Sketch]) -> Closest:
    """What excerpts come closest to among tracks, which are numbered from 0."""
    found = Closest(excerpts)
    for number, track in enumerate(tracks):
        found.look_at(number, track)
    return found
