"""The acoustic fingerprint: pairs of peaks that an excerpt and a track share, at one offset in time.

After Wang, "An industrial-strength audio search algorithm" (ISMIR 2003). The peaks lie on a logarithmic frequency axis,
so that excerpts can be looked for transposed and stretched without computing anything of the catalogue anew. Unlike in
that paper, it is the few excerpts that are indexed; the catalogue streams past them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sottovoce_client.copying.excerpt import STRETCHES, Excerpt
from sottovoce_client.copying.sketch import BANDS, FINE, Sketch

TRANSPOSITIONS = (-FINE, 0, FINE)
"""Bands by which a copy may be higher than what it was copied from: a semitone down, none, a semitone up."""
PARTNERS = 8
"""Later peaks that each peak is paired with."""
SHORTEST, LONGEST = 2, 63
"""Frames between the two peaks of a pair."""
WIDEST = 31
"""Bands between them: ten semitones."""
OFFSET_FRAMES = 4
"""Frames that count as one offset in time."""

_VARIANTS = [(shift, stretch) for shift in TRANSPOSITIONS for stretch in STRETCHES]
_TIME_BITS, _INTERVAL_BITS = 6, 6
_CODES = BANDS << (_TIME_BITS + _INTERVAL_BITS)


class Landmarks:
    """The pairs of some excerpts, ready for tracks to be compared with.

    Args:
        excerpts: all that tracks are to be compared with.
    """

    def __init__(self, excerpts: Sequence[Excerpt]) -> None:
        self._count = len(excerpts)
        self._pairs = np.zeros(len(excerpts), dtype=np.int64)
        codes, entries = [], []
        for number, excerpt in enumerate(excerpts):
            times, bands, intervals, gaps = _pairs(excerpt.times, excerpt.bands)
            self._pairs[number] = len(times)
            for variant, (shift, stretch) in enumerate(_VARIANTS):
                was = gaps / stretch
                for near in (-1, 0, 1):
                    lengths = np.rint(was).astype(np.int64) + near
                    lower = bands - shift
                    known = (lengths >= SHORTEST) & (lengths <= LONGEST) & (lower >= 0) & (lower < BANDS)
                    codes.append(_code(lower, intervals, lengths)[known])
                    starts = np.rint(times[known] / stretch).astype(np.int64)
                    entries.append(((number * len(_VARIANTS) + variant) << 32) | starts)
        everything = np.concatenate(codes) if codes else np.zeros(0, np.int64)
        order = np.argsort(everything, kind="stable")
        self._entries = np.concatenate(entries)[order] if entries else np.zeros(0, np.int64)
        self._first = np.searchsorted(everything[order], np.arange(_CODES + 1)).astype(np.int32)

    def shares(self, track: Sketch) -> NDArray[np.float64]:
        """The share of each excerpt's pairs that the track has at its best offset, transposition and stretch.

        `[excerpts]`, 0 to 1. A pair may be found more than once, which music that repeats itself does.
        """
        times, bands, intervals, gaps = _pairs(track.times, track.bands)
        found = np.zeros(self._count)
        codes = _code(bands, intervals, gaps)
        first = self._first[codes]
        counts = self._first[codes + 1] - first
        total = int(counts.sum())
        if not total:
            return found
        # The entries of all codes, end to end: from the first of each code on, one after another.
        begins = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        entries = self._entries[begins + np.arange(total)]
        offsets = np.repeat(times, counts) - (entries & 0xFFFFFFFF)
        slots = offsets // OFFSET_FRAMES
        low = int(slots.min())
        width = int(slots.max()) - low + 2
        keys, votes = np.unique((entries >> 32) * width + (slots - low), return_counts=True)
        # An offset may lie on the border of two slots.
        both = votes.astype(np.float64)
        both[:-1] += np.where(keys[1:] == keys[:-1] + 1, votes[1:], 0)
        np.maximum.at(found, keys // width // len(_VARIANTS), both)
        shares: NDArray[np.float64] = np.minimum(found / np.maximum(self._pairs, 1), 1.0)
        return shares


def _pairs(
    times: NDArray[np.int32], bands: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Time and band of the first peak of each pair, the interval from it to the second in bands, and in frames."""
    when, which = times.astype(np.int64), bands.astype(np.int64)
    parts: list[tuple[NDArray[np.int64], ...]] = []
    for step in range(1, min(PARTNERS, len(when) - 1) + 1):
        gaps, intervals = when[step:] - when[:-step], which[step:] - which[:-step]
        near = (gaps >= SHORTEST) & (gaps <= LONGEST) & (np.abs(intervals) <= WIDEST)
        parts.append((when[:-step][near], which[:-step][near], intervals[near], gaps[near]))
    if not parts:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing, nothing
    begun, lower, intervals, gaps = (np.concatenate(column) for column in zip(*parts, strict=True))
    return begun, lower, intervals, gaps


def _code(bands: NDArray[np.int64], intervals: NDArray[np.int64], gaps: NDArray[np.int64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = (
        (bands << (_TIME_BITS + _INTERVAL_BITS)) | ((intervals + WIDEST + 1) << _TIME_BITS) | gaps
    )
    return found
