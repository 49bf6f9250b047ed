"""The interface for filling gaps, implemented by classical methods and learned models."""

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sottovoce.errors import AudioError
from sottovoce.studio.editing import linear_prediction

LEARNED = "learned"
"""Name of the method that uses a release."""


class Chooser(Protocol):
    """Chooses how to fill a gap."""

    def choose(self, frames: int, sample_rate: int) -> "Repairer":
        """The repairer for a gap of this length."""


class Repairer(Chooser, Protocol):
    """Fills one gap in all channels; as a chooser, it returns itself for every gap."""

    name: str
    context_seconds: float
    """Wanted context on each side, seconds."""

    def choose(self, frames: int, sample_rate: int) -> "Repairer":
        """See `Chooser.choose`."""
        del frames, sample_rate
        return self

    def fill(
        self, before: NDArray[np.float64], after: NDArray[np.float64], frames: int, sample_rate: int
    ) -> NDArray[np.float64]:
        """The missing samples, `[frames, channels]`, full scale 1.

        Args:
            before: samples before the gap, `[n, channels]`; empty if the gap starts the file.
            after: samples after it, `[m, channels]`; empty if the gap ends the file. At least one is not empty.
            frames: length of the gap.
            sample_rate: the file's sample rate, Hz.
        """


class LpcRepairer(Repairer):
    """Autoregressive interpolation, each channel separately."""

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
        # Threads cost more than they gain for many small products, and far more on a busy machine.
        with threadpool_limits(1):
            channels = [
                linear_prediction.fill(left, right, frames) for left, right in zip(before.T, after.T, strict=True)
            ]
        return np.stack(channels, axis=1)


class ByLength(Chooser):
    """Chooses by the length of a gap.

    Args:
        short: fills gaps of up to `longest_short` seconds.
        long: constructs the repairer for longer gaps when it is first needed, since it may load a model.
        longest_short: longest gap for `short`, seconds.
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
    """Refuse a context with samples that are not finite.

    Raises:
        AudioError: a sample is not finite.
    """
    if not np.isfinite(context).all():
        from sottovoce.audio.reject_reason import RejectReason

        raise AudioError(
            "The audio beside a gap contains samples that are not finite.",
            reason=RejectReason.NOT_FINITE,
            hint="--find-gaps finds them: include them in the gap.",
        )
