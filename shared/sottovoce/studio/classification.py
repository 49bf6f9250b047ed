"""The result of recognising a track's style."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """A part of a track.

    Args:
        start: seconds from the track's start.
        end: likewise.
        probabilities: probability of every style, most probable first.
    """

    start: float
    end: float
    probabilities: Mapping[str, float]


@dataclass(frozen=True)
class Classification:
    """A track's style.

    Args:
        style: the most probable one.
        probabilities: probability of every style, most probable first.
        segments: the same for parts of the track, in order, if requested. A long track's are spread evenly over it.
    """

    style: str
    probabilities: Mapping[str, float]
    segments: Sequence[Segment] = ()
