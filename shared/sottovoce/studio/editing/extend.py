"""Goes on where a track ends: from places in it that are like its end, one after the other."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sottovoce.audio.overlap_add import cross_fade, linear
from sottovoce.errors import ConfigurationError
from sottovoce.release.load import Release
from sottovoce.studio.editing.continuations import Places
from sottovoce.studio.editing.effect import Blocks
from sottovoce.studio.editing.learned_repair import LearnedRepairer
from sottovoce.studio.editing.repairer import LpcRepairer
from sottovoce.studio.editing.time_pitch import best_fit

LONGEST_SECONDS = 600.0
MEMORY_SECONDS = 30.0
"""Of the track's end, in which places are looked for."""
JOIN_SECONDS = 0.04
"""In which the music before a place is faded into the music at it; over as much, both ways, waveforms are aligned."""
STEP_SECONDS = 0.5
"""What is expected at a time where there is no place to go on from."""
FADE_SECONDS = 0.5
"""At the new end."""
CONTEXT_SECONDS = 2.0
"""Of what is before a join, from which it is carried on into it."""

Samples = NDArray[np.float64]


class Extend:
    """Passes audio through and continues it. The first new sample joins the last old one without a step.

    What is new is the track's own, put together anew: it goes on from where it sounded like it does at its end, and an
    editor chooses among the likest places. What is too short to hold such a place (3 s) goes on as it sounds.

    Args:
        release: of the task `editor`.
        seconds: how much longer the track becomes.

    Raises:
        ReleaseError: the release is of another task.
        ConfigurationError: the length is out of range.
    """

    name = "extend"

    def __init__(self, release: Release, seconds: float) -> None:
        release.expect_task("editor")
        if not (math.isfinite(seconds) and 0 < seconds <= LONGEST_SECONDS):
            raise ConfigurationError(
                f"A track can be extended by more than 0 and at most {LONGEST_SECONDS:g} s, not by {seconds:g}."
            )
        self._release, self._seconds = release, seconds

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`."""
        memory = round(MEMORY_SECONDS * sample_rate)
        kept: list[Samples] = []
        held = 0
        for block in blocks:
            kept.append(block)
            held += len(block)
            while held - len(kept[0]) >= memory:
                held -= len(kept.pop(0))
            yield block
        if not held:
            return
        left = round(self._seconds * sample_rate)
        fade = min(left, round(FADE_SECONDS * sample_rate))
        for new in self.continued(np.concatenate(kept)[-memory:], sample_rate):
            until_end = left - 1 - np.arange(min(left, len(new)))
            yield new[:left] * np.sin(np.pi / 2 * np.clip(until_end / max(fade, 1), 0, 1))[:, None]
            left -= len(new)
            if left <= 0:
                return

    def continued(self, track: Samples, sample_rate: int) -> Iterator[Samples]:
        """What comes after the end of `track`, `[frames, channels]`, without an end."""
        if track.any():
            yield from _from_places(track, sample_rate, Places(track, sample_rate, self._release))
        yield from held(track, sample_rate, LearnedRepairer(self._release))


def _from_places(track: Samples, sample_rate: int, places: Places) -> Iterator[Samples]:
    join = round(JOIN_SECONDS * sample_rate)
    context = round(CONTEXT_SECONDS * sample_rate)
    for left, begin, until in places.walk():
        before = track[max(0, left - join) : left]
        near = max(0, begin - len(before) - join)
        begin = near + best_fit(before, track[near : begin + join]) + len(before)
        ahead = track[left : left + join]
        if len(ahead) < join:
            known = np.concatenate([track[max(0, left - context) : left], ahead])
            ahead = np.concatenate([ahead, LpcRepairer().fill(known, known[:0], join - len(ahead), sample_rate)])
        new = track[begin:until].copy()
        new[:join] = cross_fade(ahead, new[:join], linear(join))
        yield new


def held(track: Samples, sample_rate: int, repairer: LearnedRepairer) -> Iterator[Samples]:
    """Again and again, what an editor expects of a gap that nothing follows: what sounds goes on and dies away.

    Args:
        track: `[frames, channels]`.
        sample_rate: Hz.
        repairer: by which release.
    """
    context, step = round(repairer.context_seconds * sample_rate), round(STEP_SECONDS * sample_rate)
    tail = track[-context:]
    while True:
        new = repairer.fill(tail, tail[:0], step, sample_rate)
        tail = np.concatenate([tail, new])[-context:]
        yield new
