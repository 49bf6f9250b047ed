"""The acoustic fingerprint: counts the pairs of peaks that an excerpt and a track share at one offset in time.

After Wang, "An industrial-strength audio search algorithm" (ISMIR 2003). The peaks lie on a logarithmic frequency axis,
so that transposed and stretched excerpts can be found without recomputing anything for the catalogue. Unlike in that
paper, the index holds the few excerpts, and the catalogue streams past it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sottovoce_client.copy_audit.excerpt import STRETCHES, Excerpt
from sottovoce_client.copy_audit.sketch import BANDS, FINE, FRAME_RATE, Sketch

TRANSPOSITIONS = (-FINE, 0, FINE)
"""Transpositions that are searched, in bands: a semitone down, none, a semitone up."""
PARTNERS = 8
"""Number of later peaks that each peak is paired with."""
SHORTEST, LONGEST = 2, 63
"""Least and greatest distance in time between the two peaks of a pair, in frames."""
WIDEST = 31
"""Greatest distance in pitch between the two peaks of a pair, in bands (ten semitones)."""
OFFSET_FRAMES = 4
"""Width of one slot of time offsets, in frames."""
LEAST_SHARE = 0.05
"""Least share of an excerpt's pairs that counts; a smaller one is chance."""
PIECE_FRAMES, OVERLAP_FRAMES = round(60 * FRAME_RATE), round(6 * FRAME_RATE)
"""Length and overlap, in frames, of the pieces that a track is compared in: they bound memory, and each passage that an
excerpt could be copied from lies whole within one piece."""

_VARIANTS = [(shift, stretch) for shift in TRANSPOSITIONS for stretch in STRETCHES]
_TIME_BITS, _INTERVAL_BITS = 6, 6
_PLACE_BITS = 40
_NO_PEAKS = np.zeros(0, np.int32), np.zeros(0, np.uint8)
_CODES = BANDS << (_TIME_BITS + _INTERVAL_BITS)


class Landmarks:
    """An index of the excerpts' pairs, to compare tracks with.

    Args:
        excerpts: the excerpts to compare tracks with.
    """

    def __init__(self, excerpts: Sequence[Excerpt]) -> None:
        self._count = len(excerpts)
        found = [_pairs(excerpt.times, excerpt.bands) for excerpt in excerpts] or [_pairs(*_NO_PEAKS)]
        counts = [len(pairs[0]) for pairs in found]
        self._pairs = np.array(counts[: len(excerpts)], dtype=np.int64)
        times, bands, intervals, gaps = (np.concatenate(column) for column in zip(*found, strict=True))
        owners = np.repeat(np.arange(len(counts)), counts)
        numbers = np.concatenate([np.arange(count) for count in counts])
        codes, entries = [], []
        for variant, (shift, stretch) in enumerate(_VARIANTS):
            lower, starts = bands - shift, np.rint(times / stretch).astype(np.int64)
            for near in (-1, 0, 1):
                lengths = np.rint(gaps / stretch).astype(np.int64) + near
                known = (lengths >= SHORTEST) & (lengths <= LONGEST) & (lower >= 0) & (lower < BANDS)
                codes.append(_code(lower, intervals, lengths)[known])
                entries.append(np.stack([owners * len(_VARIANTS) + variant, starts, numbers])[:, known])
        everything = np.concatenate(codes)
        # Sorting numbers that pack code and position is several times faster than argsort.
        order = np.sort(everything << _PLACE_BITS | np.arange(len(everything))) & (1 << _PLACE_BITS) - 1
        self._variants, self._starts, self._numbers = np.concatenate(entries, axis=1)[:, order]
        self._first = np.zeros(_CODES + 1, dtype=np.int32)
        self._first[1:] = np.cumsum(np.bincount(everything, minlength=_CODES))

    def shares(self, track: Sketch) -> NDArray[np.float64]:
        """The share of each excerpt's pairs that the track has at its best offset, transposition and stretch.

        `[excerpts]`, 0 to 1; shares below `LEAST_SHARE` are set to 0. Each pair counts once, however often the track
        repeats it at that offset, so that a held chord does not look like a copy.
        """
        found = np.zeros(self._count)
        pairs = _pairs(track.times, track.bands)
        order = np.argsort(pairs[0], kind="stable")
        times, bands, intervals, gaps = (column[order] for column in pairs)
        for start in range(0, int(times[-1]) + 1 if len(times) else 0, PIECE_FRAMES - OVERLAP_FRAMES):
            low, high = np.searchsorted(times, [start, start + PIECE_FRAMES])
            part = slice(low, high)
            np.maximum(found, self._in_piece(times[part], _code(bands[part], intervals[part], gaps[part])), out=found)
        return found

    def _in_piece(self, times: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same for pairs of a track, given by their times and codes in order of time."""
        found = np.zeros(self._count)
        first = self._first[codes]
        counts = self._first[codes + 1] - first
        total = int(counts.sum())
        if not total:
            return found
        # The index entries of all codes, concatenated.
        begins = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        places = begins + np.arange(total)
        slots = (np.repeat(times, counts) - self._starts[places]) // OFFSET_FRAMES
        slots += 1 - slots.min()
        width = int(slots.max()) + 1
        keys = self._variants[places] * width + slots
        votes = np.bincount(keys, minlength=self._count * len(_VARIANTS) * width)
        # An offset may lie on the border of two slots, so each slot is counted together with the next one.
        votes[:-1] += votes[1:]
        least = np.repeat(LEAST_SHARE * self._pairs, len(_VARIANTS) * width)
        enough = votes >= np.maximum(least, 1)
        most, both = int(self._pairs.max()), np.concatenate([keys, keys - 1])
        once, _ = _runs(np.sort((both * most + np.tile(self._numbers[places], 2))[enough[both]]))
        best, distinct = _runs(once // most)
        np.maximum.at(found, best // width // len(_VARIANTS), distinct)
        shares: NDArray[np.float64] = found / np.maximum(self._pairs, 1)
        return np.where(shares < LEAST_SHARE, 0.0, shares)


def _pairs(
    times: NDArray[np.int32], bands: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """For each pair: time and band of its first peak, and the interval to the second peak in bands and in frames."""
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


def _runs(ordered: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct values of an array in ascending order, and how often each occurs; `np.unique` would sort again."""
    begins = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    return ordered[begins], np.diff(begins, append=len(ordered))


def _code(bands: NDArray[np.int64], intervals: NDArray[np.int64], gaps: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray((bands << (_TIME_BITS + _INTERVAL_BITS)) | ((intervals + WIDEST + 1) << _TIME_BITS) | gaps)
