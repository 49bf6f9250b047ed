"""Parsing of effects' command-line values."""

import math

from sottovoce.errors import ConfigurationError
from sottovoce.studio.editing.equaliser import USUAL_Q, Band
from sottovoce.studio.editing.gaps import LONGEST_SECONDS


def stretch_of_time(text: str) -> tuple[float, float]:
    """Parse `START:END` in seconds; an omitted value means the start or the end of the audio.

    Raises:
        ConfigurationError: it cannot be parsed, or the end is not after the start.
    """
    hint = "Use START:END in seconds, such as --trim 10:95.5, or --trim 10: for everything from the tenth second on."
    start, end = _numbers(text, "a stretch of time", hint, 2, 2, missing=(0.0, math.inf))
    if not 0 <= start <= LONGEST_SECONDS:
        raise ConfigurationError(f"'{text}' starts before the audio.", hint=hint)
    if end <= start:
        raise ConfigurationError(f"'{text}' does not end after it starts.", hint=hint)
    return start, end if end <= LONGEST_SECONDS else math.inf


def band(text: str) -> Band:
    """Parse an equaliser band, `FREQ:GAIN[:Q]`.

    Raises:
        ConfigurationError: it cannot be parsed.
    """
    hint = "Use FREQ:GAIN or FREQ:GAIN:Q in Hz and dB, such as --eq 250:-3:0.7."
    frequency, gain, *q = _numbers(text, "a band of the equaliser", hint, 2, 3)
    return Band(frequency, gain, q[0] if q else USUAL_Q)


def compression(text: str) -> tuple[float, float]:
    """Parse a compressor's threshold (dB) and ratio, `THRESHOLD:RATIO`.

    Raises:
        ConfigurationError: it cannot be parsed.
    """
    hint = "Use THRESHOLD:RATIO, such as --compress=-18:4 for four decibels to one above -18 dB of full scale."
    threshold, ratio = _numbers(text, "a threshold and a ratio", hint, 2, 2)
    return threshold, ratio


def _numbers(
    text: str, what: str, hint: str, fewest: int, most: int, missing: tuple[float, ...] | None = None
) -> list[float]:
    parts = text.split(":")
    try:
        found = [missing[i] if missing and not part else float(part) for i, part in enumerate(parts[:most])]
    except ValueError:
        found = []
    if not fewest <= len(parts) <= most or len(found) != len(parts) or any(map(math.isnan, found)):
        raise ConfigurationError(f"'{text}' is not {what.removeprefix('a ')}.", hint=hint)
    return found
