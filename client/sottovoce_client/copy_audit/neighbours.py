"""The nearest neighbour of an excerpt: how far the most similar stretch of the catalogue is from it.

An excerpt's embedding is its chromagram (semitones over time), brought to mean 0 and length 1, so that the distance of
two is 1 minus their correlation. It is the least one over two semitones of transposition each way, and stretches.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sottovoce_client.copy_audit.excerpt import STRETCHES
from sottovoce_client.copy_audit.sketch import SEMITONES, Sketch

TRANSPOSITIONS = (-2, -1, 0, 1, 2)
"""Semitones."""
_MARGIN = max(TRANSPOSITIONS)
_KEPT = SEMITONES - 2 * _MARGIN
"""Semitones of an excerpt that are within the catalogue's, however it is transposed."""
_TINY = 1e-6
_POSITIONS = 512
"""Of a track that are compared at a time: memory does not grow with its length."""


class Neighbours:
    """The embeddings of some excerpts, ready for tracks to be compared with.

    Args:
        chromas: of all that tracks are to be compared with, each `[len(STRETCHES), columns, SEMITONES]`.
    """

    def __init__(self, chromas: Sequence[NDArray[np.float32]]) -> None:
        self._count = len(chromas)
        self._columns = chromas[0].shape[1] if chromas else 0
        wanted = [chroma[:, :, _MARGIN : _MARGIN + _KEPT] for chroma in chromas]
        shape = (len(chromas) * len(STRETCHES), self._columns * _KEPT)
        self._excerpts = _embedded(np.array(wanted, dtype=np.float32).reshape(shape))

    def distances(self, track: Sketch) -> NDArray[np.float64]:
        """The distance of each excerpt to the most similar stretch of a track, `[excerpts]`, 0 to 2."""
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
