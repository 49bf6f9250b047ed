"""Gaps: missing audio, as users specify it (`START:END` in seconds) and as frames of a file."""

from collections.abc import Iterable
from dataclasses import dataclass

from sottovoce.errors import ConfigurationError

HINT = "Use START:END in seconds, such as --repair 12.5:12.7."

LONGEST_SECONDS = 1e9
"""Largest position in seconds (30 years); anything beyond is an error."""


@dataclass(frozen=True, order=True)
class Gap:
    """A range of missing frames.

    Args:
        start: first missing frame.
        end: first frame after the gap.
    """

    start: int
    end: int

    @property
    def frames(self) -> int:
        """Number of missing frames."""
        return self.end - self.start


def parse(text: str) -> tuple[float, float]:
    """Parse `START:END` in seconds.

    Raises:
        ConfigurationError: it cannot be parsed, or the end is not after the start.
    """
    parts = text.split(":")
    try:
        start, end = (float(part) for part in parts)
    except ValueError:
        raise ConfigurationError(f"'{text}' is not a time range.", hint=HINT) from None
    if not (abs(start) <= LONGEST_SECONDS and abs(end) <= LONGEST_SECONDS):
        raise ConfigurationError(f"'{text}': both ends must be finite numbers of seconds.", hint=HINT)
    if start < 0:
        raise ConfigurationError(f"'{text}' starts before the file does.", hint=HINT)
    if end <= start:
        raise ConfigurationError(f"'{text}' does not end after it starts.", hint=HINT)
    return start, end


def in_frames(stretches: Iterable[tuple[float, float]], sample_rate: int, frames: int) -> tuple[Gap, ...]:
    """The gaps of a file in order, with overlapping and adjacent ones merged.

    Args:
        stretches: start and end of each gap, seconds.
        sample_rate: the file's sample rate, Hz.
        frames: length of the file. A gap that reaches beyond it ends there.

    Raises:
        ConfigurationError: a gap starts after the end of the file or is empty, or the gaps cover the whole file.
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
        raise ConfigurationError("The gaps cover the whole file: nothing is left to repair it from.")
    return merged


def merge(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """The same frames as ordered gaps that do not touch."""
    merged: list[Gap] = []
    for gap in sorted(gaps):
        if merged and gap.start <= merged[-1].end:
            merged[-1] = Gap(merged[-1].start, max(merged[-1].end, gap.end))
        else:
            merged.append(gap)
    return tuple(merged)
