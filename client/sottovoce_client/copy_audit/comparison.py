"""Compares excerpts with the catalogue, track by track, and keeps the closest track by each of two tests."""

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
"""Exponent of the fingerprint's share, by which the distance is divided."""


class Closest:
    """The closest track to each excerpt so far, by each test.

    The score of 4 s is the chromagram distance divided by a power of the fingerprint's share in the same track. A held
    chord is near to many others but shares no peaks with them; excerpts that share peaks by chance are not near.

    Only the excerpts are held in memory; tracks are compared one by one and then dropped.

    Args:
        excerpts: the excerpts to compare tracks with.
        groups: for each excerpt, the group whose tracks are skipped; None compares with all tracks.

    Attributes:
        scores: score of each excerpt by each test, smaller for closer, `[len(TESTS), excerpts]`; infinite without a
            comparison.
        near: number of the closest track, same shape; `NOWHERE` without a comparison.
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
        """Compare the excerpts with one track; its group must not be empty."""
        shares = np.maximum(self._landmarks.shares(track), LEAST_SHARE)
        scores = np.full_like(self.scores, np.inf)
        scores[SHORT] = self._short.distances(track) / shares**SHARE_POWER
        scores[LONG, self._has_long] = self._long.distances(track)
        nearer = (self._groups != group) & (scores < self.scores)
        self.scores[nearer], self.near[nearer] = scores[nearer], number


def closest(excerpts: Sequence[Excerpt], tracks: Iterable[Sketch]) -> Closest:
    """Find the closest track to each excerpt. Tracks are numbered from 0."""
    found = Closest(excerpts)
    for number, track in enumerate(tracks):
        found.look_at(number, track)
    return found
