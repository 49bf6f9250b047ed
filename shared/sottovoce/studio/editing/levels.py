"""Effects of level and length: gain, fades and trim."""

import math

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.studio.editing.effect import Blocks

LONGEST_FADE_SECONDS = 30.0
"""Longest fade, seconds; a fade-out is buffered until the end of the audio is known."""
LOUDEST_DB = 96.0


class Gain:
    """Changes the level.

    Args:
        decibels: gain in dB.

    Raises:
        ConfigurationError: the gain is beyond ±96 dB.
    """

    name = "gain"

    def __init__(self, decibels: float) -> None:
        if not abs(decibels) <= LOUDEST_DB:
            raise ConfigurationError(f"A gain of {decibels:g} dB is beyond ±{LOUDEST_DB:g} dB.")
        self._factor = 10 ** (decibels / 20)

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:  # noqa: ARG002
        """See `Effect.process`."""
        for block in blocks:
            yield block * self._factor


class FadeIn:
    """Fades in along a raised cosine.

    Args:
        seconds: length, above 0 and at most 30.
    """

    name = "fade-in"

    def __init__(self, seconds: float) -> None:
        self._seconds = _fade_seconds(seconds)

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`."""
        length, position = max(1, round(self._seconds * sample_rate)), 0
        for block in blocks:
            if position < length:
                block = block * _rise(position, len(block), length)
            position += len(block)
            yield block


class FadeOut:
    """Fades out along a raised cosine at the end of the audio.

    Args:
        seconds: length, above 0 and at most 30.
    """

    name = "fade-out"

    def __init__(self, seconds: float) -> None:
        self._seconds = _fade_seconds(seconds)

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`."""
        length = max(1, round(self._seconds * sample_rate))
        held: list[NDArray[np.float64]] = []
        for block in blocks:
            held.append(block)
            while sum(map(len, held)) - len(held[0]) >= length:
                yield held.pop(0)
        if held:
            last = np.concatenate(held)
            fall = _rise(0, len(last), length)[::-1]
            yield last * fall


class Trim:
    """Keeps one range of the audio.

    Args:
        start: start, seconds.
        end: end, seconds; infinity for the end of the audio.
    """

    name = "trim"

    def __init__(self, start: float, end: float = math.inf) -> None:
        self._start, self._end = start, end

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`.

        Raises:
            ConfigurationError: no audio is left.
        """
        first = round(self._start * sample_rate)
        last = math.inf if math.isinf(self._end) else round(self._end * sample_rate)
        position = kept = 0
        for block in blocks:
            if position >= last:
                break
            inner = block[max(0, first - position) : int(min(len(block), last - position))]
            position += len(block)
            kept += len(inner)
            if len(inner):
                yield inner
        if not kept:
            raise ConfigurationError(
                f"There is no audio after {self._start:g} s: it ends at {position / sample_rate:g} s."
            )


def _fade_seconds(seconds: float) -> float:
    if not 0 < seconds <= LONGEST_FADE_SECONDS:
        raise ConfigurationError(f"A fade must be longer than 0 and at most {LONGEST_FADE_SECONDS:g} s.")
    return seconds


def _rise(position: int, count: int, length: int) -> NDArray[np.float64]:
    """Factors `[count, 1]` from this position of a fade-in of `length` frames; 1 after it."""
    share = np.clip((np.arange(position, position + count) + 0.5) / length, 0, 1)
    return (0.5 - 0.5 * np.cos(np.pi * share))[:, None]
