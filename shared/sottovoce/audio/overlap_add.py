"""Overlap-add: joins stretches of audio with cross-fades. Every cross-fade in the project is here."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Audio = TypeVar("Audio", NDArray[np.float64], "Tensor")
"""Samples along the first axis: an array or a tensor."""


def linear(frames: int) -> NDArray[np.float64]:
    """A linear fade-in, `[frames]`, sampled at the middle of each frame, so that it reaches neither 0 nor 1."""
    return (np.arange(frames) + 0.5) / max(frames, 1)


def raised_cosine(frames: int) -> NDArray[np.float64]:
    """A fade-in with a smooth start and end, `[frames]`: half a period of a cosine."""
    return np.sin(np.pi / 2 * (np.arange(frames) + 0.5) / max(frames, 1)) ** 2


def cross_fade(before: Audio, after: Audio, rise: Audio, fall: Audio | None = None) -> Audio:
    """Cross-fade two stretches of the same shape.

    Args:
        before: stretch that fades out, `[frames]` or `[frames, channels]`.
        after: stretch that fades in.
        rise: weight of `after`, `[frames]`.
        fall: weight of `before`, `[frames]`; by default the weights sum to 1, which suits correlated stretches. For
            uncorrelated ones, weights whose squares sum to 1 keep the power.
    """
    fall = 1 - rise if fall is None else fall
    shape = (-1, *[1] * (before.ndim - 1))
    return before * fall.reshape(shape) + after * rise.reshape(shape)


def overlap_add(pieces: Iterable[Audio], rise: Audio, fall: Audio | None = None) -> Iterator[Audio]:
    """Join pieces, each of which overlaps the next by the length of `rise`, to one stream; memory holds one piece.

    Args:
        pieces: in order; all but the first are longer than the overlap. They are modified in place.
        rise: see `cross_fade`.
        fall: see `cross_fade`.
    """
    overlap = len(rise)
    tail: Audio | None = None
    for piece in pieces:
        if tail is not None:
            piece[:overlap] = cross_fade(tail, piece[:overlap], rise, fall)
        settled = max(0, len(piece) - overlap)
        yield piece[:settled]
        tail = piece[settled:]
    if tail is not None:
        yield tail
