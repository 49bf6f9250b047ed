"""Embedding of the watermark."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sottovoce.audio.decoding import HIGHEST_RATE
from sottovoce.studio.provenance.watermark import frames as short
from sottovoce.studio.provenance.watermark.detect import find
from sottovoce.studio.provenance.watermark.masking import largest_change
from sottovoce.studio.provenance.watermark.pattern import (
    BANDS,
    BINS_PER_BAND,
    CHIPS,
    FIRST_BIN,
    FRAMES_PER_CHIP,
    HOP,
    LOWEST_RATE,
    RATE,
    pattern,
)
from sottovoce.studio.provenance.watermark.payload import encode

STEPS_DB = (1.0, 1.5)
"""Candidates for the largest change of a level, dB; the first that can be read back clearly is used."""

CLEAR = 8.0
"""Pilot score that counts as clear; leaves room for later processing of the audio."""

FADE_SECONDS = 0.01


def embed_clearly(
    samples: NDArray[np.floating], sample_rate: int, payload: bytes, *, region: tuple[int, int] | None = None
) -> tuple[NDArray[np.floating], float]:
    """The weakest watermark that can be read back clearly, and its score; 0 if it cannot be read.

    The arguments are those of `embed`.
    """
    score = 0.0
    marked = samples
    first, last = (0, samples.shape[1]) if region is None else region
    for step in STEPS_DB:
        marked = embed(samples, sample_rate, payload, region=region, step_db=step)
        found = find([marked[:, first:last]], sample_rate)
        score = next((mark.score for mark in found if mark.payload == payload), 0.0)
        if score >= CLEAR:
            break
    return marked, score


def embed(
    samples: NDArray[np.floating],
    sample_rate: int,
    payload: bytes,
    *,
    region: tuple[int, int] | None = None,
    step_db: float = STEPS_DB[-1],
) -> NDArray[np.floating]:
    """A copy of the audio with a payload embedded.

    Args:
        samples: `[channels, n]`.
        sample_rate: Hz, 8,000 to 768,000.
        payload: 6 bytes.
        region: the first sample that may change, and the first one after them; None for all. Samples outside are
            bit-identical.
        step_db: largest change of a band's level, dB.

    Raises:
        ValueError: the sample rate is out of range, or the region is not within the audio.
    """
    length = samples.shape[1]
    first, last = (0, length) if region is None else region
    if not 0 <= first <= last <= length:
        raise ValueError(f"Expected a region within 0 and {length}, not {first} to {last}.")
    blocks = stream([samples], sample_rate, payload, regions=None if region is None else [region], step_db=step_db)
    return np.concatenate(list(blocks), axis=1)


def stream(
    blocks: Iterable[NDArray[np.floating]],
    sample_rate: int,
    payload: bytes,
    *,
    regions: Sequence[tuple[int, int]] | None = None,
    step_db: float = STEPS_DB[-1],
) -> Iterator[NDArray[np.floating]]:
    """Like `embed`, for audio in pieces `[channels, n]` of any length; memory does not grow with the total length.

    Args:
        blocks: the pieces, in order.
        sample_rate: Hz, 8,000 to 768,000.
        payload: 6 bytes.
        regions: several regions as for `embed`, not overlapping; None for all of the audio.
        step_db: largest change of a band's level, dB.

    Raises:
        ValueError: the sample rate is out of range.
    """
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise ValueError(f"Expected a sample rate from {LOWEST_RATE} to {HIGHEST_RATE} Hz, not {sample_rate}.")
    signs = pattern().marked(encode(payload))
    for outer, before, length, second in short.windows(blocks, sample_rate):
        block = outer[:, before : before + length].copy()
        start = second * sample_rate + before
        touched = [(0, length)] if regions is None else list(_within(regions, start, length))
        if touched:
            audio = short.resampled(outer.astype(np.float64), sample_rate, RATE)
            change = short.resampled(_change(audio, second * RATE // HOP, signs, step_db), RATE, sample_rate)
            change = change[:, before : before + length]
            for first, last in touched:
                here = change[:, max(first, 0) : max(last, 0)]
                if regions is not None:
                    position = np.arange(max(first, 0), min(last, length))
                    here = here * _fade(position, first, last, round(FADE_SECONDS * sample_rate))
                block[:, max(first, 0) : max(last, 0)] += here.astype(block.dtype)
        yield block


def _within(regions: Sequence[tuple[int, int]], start: int, length: int) -> Iterator[tuple[int, int]]:
    """The parts of regions within a block, relative to its start."""
    for first, last in regions:
        if first < start + length and last > start and first < last:
            yield first - start, last - start


def _change(audio: NDArray[np.float64], frame: int, signs: NDArray[np.int8], step_db: float) -> NDArray[np.float64]:
    """The mark for audio `[channels, n]` at `RATE` whose first frame has index `frame` in the file."""
    spectra = short.spectra(audio)
    chips = (frame + np.arange(spectra.shape[1])) // FRAMES_PER_CHIP % CHIPS
    gains = largest_change(np.abs(spectra) ** 2, step_db)
    mark = np.zeros_like(gains)
    bins = slice(FIRST_BIN, FIRST_BIN + BANDS * BINS_PER_BAND)
    mark[..., bins] = np.repeat(signs[chips], BINS_PER_BAND, axis=-1)
    return short.overlapped(spectra * gains * mark, audio.shape[1])


def _fade(position: NDArray[np.int64], first: int, last: int, length: int) -> NDArray[np.float64]:
    """A raised cosine from zero at both ends of a region."""
    inside = np.minimum(position - first + 0.5, last - position - 0.5) / max(1, length)
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(inside, 0, 1))
