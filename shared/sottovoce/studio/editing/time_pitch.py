"""Time-stretching and pitch-shifting with the library Signalsmith Stretch (MIT)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.audio.overlap_add import cross_fade
from sottovoce.errors import ConfigurationError
from sottovoce.studio.editing.effect import Blocks

SLOWEST = 4.0
FASTEST = 0.25
MOST_SEMITONES = 24.0
WINDOW_SECONDS = 30.0
"""Length of a window, seconds; the library processes a whole array, so longer audio is split."""
OVERLAP_SECONDS = 1.0
"""Overlap of two windows in the input, seconds: more than the library's own windows."""
FADE_SECONDS = 0.05
ALIGN_SECONDS = 0.015
"""Largest shift of a window to align it with the waveform before it, seconds."""
_TONALITY_HZ = 8_000.0
"""Frequency in Hz up to which harmonics are shifted as pitch; above, the spectrum is (the library's usual limit)."""
_SHORTEST_SECONDS = 0.25
_SEED = 1

Block = NDArray[np.float64]


class TimePitch:
    """Changes tempo without pitch, and pitch without tempo.

    Args:
        factor: output length over input length, 0.25 to 4.
        semitones: pitch shift, ±24.

    Raises:
        ConfigurationError: a value is out of range.
    """

    name = "stretch"

    def __init__(self, factor: float = 1.0, semitones: float = 0.0) -> None:
        if not FASTEST <= factor <= SLOWEST:
            raise ConfigurationError(f"The tempo factor must be between {FASTEST:g} and {SLOWEST:g}, not {factor:g}.")
        if not abs(semitones) <= MOST_SEMITONES:
            raise ConfigurationError(
                f"The pitch can be shifted by up to {MOST_SEMITONES:g} semitones, not by {semitones:g}."
            )
        self._factor, self._semitones = factor, semitones

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`.

        Raises:
            ConfigurationError: the library is not installed.
        """
        size, overlap = round(WINDOW_SECONDS * sample_rate), round(OVERLAP_SECONDS * sample_rate)
        seams = _Seams(self._factor, sample_rate)
        held: list[Block] = []
        first = 0
        for block in blocks:
            held.append(block)
            while sum(map(len, held)) > size + overlap:
                whole = np.concatenate(held)
                yield from seams.add(self._changed(whole[: size + overlap], sample_rate), first, size + overlap)
                held = [whole[size:]]
                first += size
        whole = np.concatenate(held)
        yield from seams.add(self._changed(whole, sample_rate), first, len(whole))
        yield seams.rest()

    def _changed(self, window: Block, sample_rate: int) -> Block:
        stretch = _library()(_SEED)
        stretch.preset(window.shape[1], float(sample_rate))
        stretch.setTimeFactor(1 / self._factor)
        stretch.setTransposeSemitones(self._semitones, _TONALITY_HZ / sample_rate)
        # Audio shorter than the library's window would come back empty.
        missing = max(0, round(_SHORTEST_SECONDS * sample_rate) - len(window))
        padded = np.pad(window, ((0, missing), (0, 0)))
        return stretch.process(np.ascontiguousarray(padded.T, dtype=np.float32)).T.astype(np.float64)


def _library() -> Any:
    try:
        from python_stretch import Signalsmith
    except ImportError:
        raise ConfigurationError(
            "Stretching needs the library python-stretch.", hint="pip install python-stretch"
        ) from None
    return Signalsmith.Stretch


class _Seams:
    """Joins processed windows where they overlap: each is shifted to match the previous one, and cross-faded.

    Shifts are relative to each window's nominal position, so they do not accumulate.
    """

    def __init__(self, factor: float, sample_rate: int) -> None:
        self._factor = factor
        self._fade = round(FADE_SECONDS * sample_rate)
        self._search = round(ALIGN_SECONDS * sample_rate)
        self._middle = round(OVERLAP_SECONDS * sample_rate * factor / 2)
        self._pending: Block | None = None
        self._place = 0  # output position of the pending window's first frame
        self._done = 0
        self._end = 0

    def add(self, window: Block, first: int, frames: int) -> Blocks:
        """Add the window of the input's `first:first + frames`; return the audio that is now final."""
        place = round(first * self._factor)
        self._end = round((first + frames) * self._factor)
        if self._pending is not None:
            start = place + self._middle
            before = self._pending[start - self._place :][: self._fade]
            near = window[self._middle - self._search : self._middle + self._search + self._fade]
            shift = best_fit(before, near) - self._search
            after = window[self._middle + shift :]
            joined = cross_fade(before, after[: self._fade], np.linspace(0, 1, self._fade))
            yield self._pending[self._done - self._place : start - self._place]
            yield joined
            self._done = start + self._fade
            window, place = after, start
        self._pending, self._place = window, place

    def rest(self) -> Block:
        """The remaining audio."""
        if self._pending is None:
            return np.zeros((0, 1))
        left = self._pending[self._done - self._place :]
        frames = self._end - self._done
        return np.pad(left[:frames], ((0, max(0, frames - len(left))), (0, 0)))


def best_fit(before: Block, near: Block) -> int:
    """Position in `near` where the waveform of `before` fits best."""
    from scipy.signal import correlate

    wanted, there = before.mean(axis=1), near.mean(axis=1)
    fit = correlate(there, wanted, "valid")
    energy = np.sqrt(np.maximum(np.convolve(there**2, np.ones(len(wanted)), "valid"), 1e-12))
    return int(np.argmax(fit / energy))
