"""Continues a track beyond its end with its own passages, joined where they resemble each other."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sottovoce.audio.overlap_add import cross_fade, linear
from sottovoce.errors import ConfigurationError
from sottovoce.release.load import Release
from sottovoce.studio.editing.continuations import Continuations
from sottovoce.studio.editing.effect import Blocks
from sottovoce.studio.editing.learned_repair import LearnedRepairer
from sottovoce.studio.editing.repairer import LpcRepairer
from sottovoce.studio.editing.time_pitch import best_fit

LONGEST_SECONDS = 600.0
"""Longest extension, in seconds."""
MEMORY_SECONDS = 30.0
"""Length of the track's end that passages are taken from, in seconds."""
JOIN_SECONDS = 0.04
"""Length of a cross-fade at a jump, and search range on each side when waveforms are aligned, in seconds."""
STEP_SECONDS = 0.5
"""Length of each predicted piece when the track is too short to jump in, in seconds."""
FADE_SECONDS = 0.5
"""Length of the fade-out at the new end, in seconds."""
CONTEXT_SECONDS = 2.0
"""Context from which linear prediction continues the audio into a join, in seconds."""

Samples = NDArray[np.float64]


class Extend:
    """Passes audio through and continues it without a step at the old end.

    The continuation consists of the track's own passages: it jumps to where the track sounded as it does at its end,
    and an editor chooses among the most similar passages. A track too short for that (3 s) is sustained and dies away.

    Args:
        release: a release of the task `editor`.
        seconds: length of the extension.

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
        for new in self.continuation(np.concatenate(kept)[-memory:], sample_rate):
            until_end = left - 1 - np.arange(min(left, len(new)))
            yield new[:left] * np.sin(np.pi / 2 * np.clip(until_end / max(fade, 1), 0, 1))[:, None]
            left -= len(new)
            if left <= 0:
                return

    def continuation(self, track: Samples, sample_rate: int) -> Iterator[Samples]:
        """Endless pieces that follow `track`, `[frames, channels]`."""
        if track.any():
            yield from _jumping(track, sample_rate, Continuations(track, sample_rate, self._release))
        yield from sustained(track, sample_rate, LearnedRepairer(self._release))


def _jumping(track: Samples, sample_rate: int, continuations: Continuations) -> Iterator[Samples]:
    join = round(JOIN_SECONDS * sample_rate)
    context = round(CONTEXT_SECONDS * sample_rate)
    for left, begin, until in continuations.segments():
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


def sustained(track: Samples, sample_rate: int, repairer: LearnedRepairer) -> Iterator[Samples]:
    """Endless pieces, each the editor's prediction of a gap at the end: the last sound is sustained and dies away.

    Args:
        track: `[frames, channels]`.
        sample_rate: Hz.
        repairer: fills the gaps.
    """
    context, step = round(repairer.context_seconds * sample_rate), round(STEP_SECONDS * sample_rate)
    tail = track[-context:]
    while True:
        new = repairer.fill(tail, tail[:0], step, sample_rate)
        tail = np.concatenate([tail, new])[-context:]
        yield new
