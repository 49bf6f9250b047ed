"""How a gap is filled: one interface, into which classical methods and learned models are plugged."""

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sottovoce.errors import AudioError
from sottovoce.studio.editing import linear_prediction

LEARNED = "learned"
"""The name of what a release fills."""


class Chooser(Protocol):
    """Says what fills a gap."""

    def choose(self, frames: int, sample_rate: int) -> "Repairer":
        """What fills a gap of so many frames."""


class Repairer(Chooser, Protocol):
    """Fills one gap of all channels; of all gaps, it chooses itself."""

    name: str
    context_seconds: float
    """Of audio that it wants on each side."""

    def choose(self, frames: int, sample_rate: int) -> "Repairer":
        """See `Chooser.choose`."""
        del frames, sample_rate
        return self

    def fill(
        self, before: NDArray[np.float64], after: NDArray[np.float64], frames: int, sample_rate: int
    ) -> NDArray[np.float64]:
        """The missing samples, `[frames, channels]`, full scale 1.

        Args:
            before: what comes before the gap, `[n, channels]`; empty where the gap starts the file.
            after: what comes after it, `[m, channels]`; empty where the gap ends the file. Not both are.
            frames: length of the gap.
            sample_rate: Hz, of the file.
        """


class LpcRepairer(Repairer):
    """Autoregressive interpolation, each channel by itself."""

    name = "lpc"
    context_seconds = 0.5

    def fill(
        self,
        before: NDArray[np.float64],
        after: NDArray[np.float64],
        frames: int,
        sample_rate: int,  # noqa: ARG002
    ) -> NDArray[np.float64]:
        """See `Repairer.fill`."""
        # Threads cost the many small products more than they give, and far more on a busy machine.
        with threadpool_limits(1):
            channels = [
                linear_prediction.fill(left, right, frames) for left, right in zip(before.T, after.T, strict=True)
            ]
        return np.stack(channels, axis=1)


class ByLength(Chooser):
    """Chooses by the length of a gap.

    Args:
        short: fills gaps of up to `longest_short` seconds.
        long: makes what fills longer ones, where there is one: it may load much.
        longest_short: seconds.
    """

    def __init__(self, short: Repairer, long: Callable[[], Repairer], longest_short: float) -> None:
        self._short, self._make_long, self._longest_short = short, long, longest_short

    @cached_property
    def _long(self) -> Repairer:
        return self._make_long()

    def choose(self, frames: int, sample_rate: int) -> Repairer:
        """See `Chooser.choose`."""
        return self._short if frames <= self._longest_short * sample_rate else self._long


def expect_finite(context: NDArray[np.float64]) -> None:
    """Refuse to mend by numbers that are no samples.

    Raises:
        AudioError: there are such.
    """
    if not np.isfinite(context).all():
        from sottovoce.audio.reject_reason import RejectReason

        raise AudioError(
            "The audio beside a gap holds numbers that are no samples.",
            reason=RejectReason.NOT_FINITE,
            hint="--find-gaps finds them: make them part of the gap.",
        )
