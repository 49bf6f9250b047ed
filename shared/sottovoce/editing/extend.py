"""Goes on where a track ends: again and again, what an editor expects of a gap that nothing follows."""

import math

import numpy as np
from numpy.typing import NDArray

from sottovoce.editing.effect import Blocks
from sottovoce.editing.learned import LearnedRepairer
from sottovoce.errors import ConfigurationError
from sottovoce.release.load import Release

LONGEST_SECONDS = 600.0
STEP_SECONDS = 0.5
"""What is expected at a time."""
FADE_SECONDS = 0.5
"""At the new end."""


class Extend:
    """Passes audio through and continues it. The first new sample joins the last old one without a step.

    Args:
        release: of the task `editor`.
        seconds: how much longer the track becomes.

    Raises:
        ReleaseError: the release is of another task.
        ConfigurationError: the length is out of range.
    """

    name = "extend"

    def __init__(self, release: Release, seconds: float) -> None:
        if not (math.isfinite(seconds) and 0 < seconds <= LONGEST_SECONDS):
            raise ConfigurationError(
                f"A track can be extended by more than 0 and at most {LONGEST_SECONDS:g} s, not by {seconds:g}."
            )
        self._repairer, self._seconds = LearnedRepairer(release), seconds

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`."""
        context = round(self._repairer.context_seconds * sample_rate)
        tail: NDArray[np.float64] | None = None
        for block in blocks:
            tail = (block if tail is None else np.concatenate([tail, block]))[-context:]
            yield block
        if tail is None or not len(tail):
            return
        left, nothing = round(self._seconds * sample_rate), tail[:0]
        fade = min(left, round(FADE_SECONDS * sample_rate))
        while left > 0:
            step = min(left, round(STEP_SECONDS * sample_rate))
            new = self._repairer.fill(tail, nothing, step, sample_rate)
            tail = np.concatenate([tail, new])[-context:]
            until_end = left - 1 - np.arange(step)
            yield new * np.sin(np.pi / 2 * np.clip(until_end / max(fade, 1), 0, 1))[:, None]
            left -= step
