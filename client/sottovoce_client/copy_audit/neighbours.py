"""Nearest-neighbour distance: how far an excerpt is from the most similar passage of the catalogue.

An excerpt's embedding is its chromagram (semitones over time), normalised to mean 0 and length 1, so that the distance
of two is 1 minus their correlation. The distance is the least over transpositions of up to two
semitones and over stretches.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sottovoce_client.copy_audit.excerpt import STRETCHES
from sottovoce_client.copy_audit.sketch import SEMITONES, Sketch

TRANSPOSITIONS = (-2, -1, 0, 1, 2)
"""Transpositions that are searched, in semitones."""
_MARGIN = max(TRANSPOSITIONS)
_KEPT = SEMITONES - 2 * _MARGIN
"""Number of an excerpt's semitones that stay within the chromagram under every transposition."""
_TINY = 1e-6
_POSITIONS = 512
"""Number of a track's positions that are compared at a time, which bounds memory."""


class Neighbours:
    """The excerpts' embeddings, to compare tracks with.

    Args:
        chromas: chromagrams of the excerpts, each `[len(STRETCHES), columns, SEMITONES]`.
    """

    def __init__(self, chromas: Sequence[NDArray[np.float32]]) -> None:
        self._count = len(chromas)
        self._columns = chromas[0].shape[1] if chromas else 0
        wanted = [chroma[:, :, _MARGIN : _MARGIN + _KEPT] for chroma in chromas]
        shape = (len(chromas) * len(STRETCHES), self._columns * _KEPT)
        self._excerpts = _embedded(np.array(wanted, dtype=np.float32).reshape(shape))

    def distances(self, track: Sketch) -> NDArray[np.float64]:
        """The distance of each excerpt to the most similar passage of a track, `[excerpts]`, 0 to 2."""
        found = np.full(self._count, 2.0)
        if not self._count or len(track.chroma) < self._columns:
            return found
        windows = np.lib.stride_tricks.sliding_window_view(track.chroma, self._columns, axis=0).swapaxes(1, 2)
        for start in range(0, len(windows), _POSITIONS):
            some = windows[start : start + _POSITIONS]
            for shift in TRANSPOSITIONS:
                at = _MARGIN + shift
                flat = some[:, :, at : at + _KEPT].reshape(len(some), -1).astype(np.float32)
                nearest = (self._excerpts @ _embedded(flat).T).max(axis=1)
                found = np.minimum(found, 1 - nearest.reshape(self._count, -1).max(axis=1))
        return found


def _embedded(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row with mean 0 and length 1, `[rows, numbers]`; silence stays 0, far from everything."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, _TINY), dtype=np.float32)
