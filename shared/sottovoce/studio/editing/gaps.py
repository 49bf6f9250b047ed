"""Gaps: where audio is missing, as people name them (`START:END` in seconds) and as frames of a file."""

from collections.abc import Iterable
from dataclasses import dataclass

from sottovoce.errors import ConfigurationError

HINT = "Give START:END in seconds, such as --repair 12.5:12.7."

LONGEST_SECONDS = 1e9
"""No file lasts 30 years: what is said to lie beyond is no place in one."""


@dataclass(frozen=True, order=True)
class Gap:
    """Frames that are missing.

    Args:
        start: the first one.
        end: the first one after them.
    """

    start: int
    end: int

    @property
    def frames(self) -> int:
        """How many are missing."""
        return self.end - self.start


def parse(text: str) -> tuple[float, float]:
    """Start and end in seconds of `START:END`.

    Raises:
        ConfigurationError: it is none, or the end is not after the start.
    """
    parts = text.split(":")
    try:
        start, end = (float(part) for part in parts)
    except ValueError:
        raise ConfigurationError(f"'{text}' is no stretch of time.", hint=HINT) from None
    if not (abs(start) <= LONGEST_SECONDS and abs(end) <= LONGEST_SECONDS):
        raise ConfigurationError(f"'{text}': both ends must be finite numbers, of seconds in a file.", hint=HINT)
    if start < 0:
        raise ConfigurationError(f"'{text}' starts before the file does.", hint=HINT)
    if end <= start:
        raise ConfigurationError(f"'{text}' ends where it starts, or before.", hint=HINT)
    return start, end


def in_frames(stretches: Iterable[tuple[float, float]], sample_rate: int, frames: int) -> tuple[Gap, ...]:
    """The gaps of a file, in order; those that overlap or touch are one.

    Args:
        stretches: start and end of each, seconds.
        sample_rate: Hz, of the file.
        frames: of the file. A gap that ends after the file does ends with it.

    Raises:
        ConfigurationError: a gap starts after the end of the file, holds no frame, or nothing is left beside the gaps.
    """
    gaps = []
    for start, end in stretches:
        gap = Gap(round(start * sample_rate), min(round(end * sample_rate), frames))
        if gap.start >= frames:
            raise ConfigurationError(
                f"The gap {start:g}:{end:g} starts after the end of the file, which lasts {frames / sample_rate:g} s."
            )
        if gap.frames < 1:
            raise ConfigurationError(f"The gap {start:g}:{end:g} is shorter than one sample at {sample_rate} Hz.")
        gaps.append(gap)
    merged = merge(gaps)
    if sum(gap.frames for gap in merged) >= frames:
        raise ConfigurationError("The gaps cover the whole file: nothing is left to mend it by.")
    return merged


def merge(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """The same frames in order, each in one gap only."""
    merged: list[Gap] = []
    for gap in sorted(gaps):
        if merged and gap.start <= merged[-1].end:
            merged[-1] = Gap(merged[-1].start, max(merged[-1].end, gap.end))
        else:
            merged.append(gap)
    return tuple(merged)
