"""Repair: fills gaps and passes all other samples unchanged."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sottovoce.audio.reject_reason import RejectReason
from sottovoce.errors import AudioError, ConfigurationError
from sottovoce.studio.editing.effect import Blocks
from sottovoce.studio.editing.gaps import Gap
from sottovoce.studio.editing.repairer import Chooser, expect_finite

LONGEST_SECONDS = 30.0
"""Longest gap, seconds; bounds memory."""


class Repair:
    """Fills gaps.

    Args:
        gaps: in order, not adjacent, all within the audio.
        repairer: fills each gap from its context: on the left including earlier repairs, on the right the original
            audio.
    """

    name = "repair"

    def __init__(self, gaps: Sequence[Gap], repairer: Chooser) -> None:
        self.gaps = gaps
        self.repairer = repairer

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`.

        Raises:
            ConfigurationError: a gap is too long.
        """
        expect_short(self.gaps, sample_rate)
        chosen = [self.repairer.choose(gap.frames, sample_rate) for gap in self.gaps]
        contexts = [round(repairer.context_seconds * sample_rate) for repairer in chosen]
        longest = max(contexts, default=0)
        stream = _Stream(blocks)
        tail = stream.peek(1)[:0]
        position = 0
        bounds: list[int | None] = [*[gap.start for gap in self.gaps[1:]], None]
        for gap, bound, repairer, context in zip(self.gaps, bounds, chosen, contexts, strict=True):
            for block in stream.pieces(gap.start - position):
                yield block
                tail = np.concatenate([tail, block])[-longest:]
            for _ in stream.pieces(gap.frames):
                pass
            after = stream.peek(context if bound is None else min(context, bound - gap.end))
            expect_finite(tail)
            expect_finite(after)
            filled = repairer.fill(tail[-context:], after, gap.frames, sample_rate)
            yield filled
            tail = np.concatenate([tail, filled])[-longest:]
            position = gap.end
        yield from stream.pieces(None)


def expect_short(gaps: Sequence[Gap], sample_rate: int) -> None:
    """Refuse gaps that are too long to repair.

    Raises:
        ConfigurationError: a gap is longer than `LONGEST_SECONDS`.
    """
    for gap in gaps:
        if gap.frames > LONGEST_SECONDS * sample_rate:
            raise ConfigurationError(
                f"A gap lasts {gap.frames / sample_rate:g} s; the longest that can be filled is {LONGEST_SECONDS:g} s."
            )


class _Stream:
    """A stream of blocks with look-ahead."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._ahead: list[NDArray[np.float64]] = []
        self._none: NDArray[np.float64] | None = None

    def peek(self, frames: int) -> NDArray[np.float64]:
        """The next frames without consuming them; fewer at the end."""
        while sum(map(len, self._ahead)) < frames and (block := next(self._blocks, None)) is not None:
            self._ahead.append(block)
        if not self._ahead:
            if self._none is None:
                raise AudioError("The file contains no audio.", reason=RejectReason.EMPTY)
            return self._none
        whole = np.concatenate(self._ahead)
        self._ahead, self._none = [whole], whole[:0]
        return whole[:frames]

    def pieces(self, frames: int | None) -> Iterator[NDArray[np.float64]]:
        """The next frames, consumed in pieces; None for all remaining ones."""
        while frames is None or frames > 0:
            block = self._ahead.pop(0) if self._ahead else next(self._blocks, None)
            if block is None:
                return
            if frames is not None and len(block) > frames:
                self._ahead.insert(0, block[frames:])
                block = block[:frames]
            if len(block):
                yield block
            frames = None if frames is None else frames - len(block)
