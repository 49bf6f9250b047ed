"""Joins stretches of audio that overlap: the one place where one is faded into the next."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Audio = TypeVar("Audio", NDArray[np.float64], "Tensor")
"""Samples along the first axis: an array or a tensor."""


def linear(frames: int) -> NDArray[np.float64]:
    """A linear fade-in, `[frames]`, sampled at the middle of each frame: neither 0 nor 1 is reached."""
    return (np.arange(frames) + 0.5) / max(frames, 1)


def raised_cosine(frames: int) -> NDArray[np.float64]:
    """A fade-in without a corner at either end, `[frames]`: half a period of a cosine."""
    return np.sin(np.pi / 2 * (np.arange(frames) + 0.5) / max(frames, 1)) ** 2


def cross_fade(before: Audio, after: Audio, rise: Audio, fall: Audio | None = None) -> Audio:
    """One stretch faded into another of the same shape.

    Args:
        before: what fades out, `[frames]` or `[frames, channels]`.
        after: what fades in.
        rise: weight of `after`, `[frames]`.
        fall: weight of `before`, `[frames]`; by default the weights sum to 1, which suits stretches that agree. Those
            that have nothing in common keep their power with weights whose squares sum to 1.
    """
    fall = 1 - rise if fall is None else fall
    shape = (-1, *[1] * (before.ndim - 1))
    return before * fall.reshape(shape) + after * rise.reshape(shape)


def overlap_add(pieces: Iterable[Audio], rise: Audio, fall: Audio | None = None) -> Iterator[Audio]:
    """One stream from pieces, each of which overlaps the next by the length of `rise`; memory holds one piece.

    Args:
        pieces: in order; each but the first is longer than the overlap. They are changed in place.
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
