"""Short-time spectra at the watermark's own rate, block by block, so that memory does not grow with a file's length."""

from collections.abc import Iterator
from math import gcd

import numpy as np
from numpy.typing import NDArray

from sottovoce.provenance.watermark.pattern import HOP, WINDOW

BLOCK_SECONDS = 20
MARGIN_SECONDS = 1
"""Of audio around a block: more than the filters and windows reach."""


def resampled(samples: NDArray[np.float64], rate: int, wanted: int) -> NDArray[np.float64]:
    """`[..., n]` at another rate (Hz), without delay (polyphase, Kaiser window)."""
    from scipy.signal import resample_poly

    if rate == wanted:
        return samples
    common = gcd(rate, wanted)
    result: NDArray[np.float64] = resample_poly(samples, wanted // common, rate // common, axis=-1)
    return result


def window() -> NDArray[np.float64]:
    """A periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


def spectra(samples: NDArray[np.float64]) -> NDArray[np.complex128]:
    """`[channels, frames, bins]` of `[channels, n]` at `RATE`; frame k is centred on sample k · HOP."""
    frames = -(-samples.shape[-1] // HOP)
    padded = np.pad(samples, ((0, 0), (WINDOW // 2, WINDOW + HOP)))
    cut = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=-1)[:, : frames * HOP : HOP]
    return np.fft.rfft(cut * window(), axis=-1)


def overlapped(changes: NDArray[np.complex128], length: int) -> NDArray[np.float64]:
    """The samples `[channels, length]` behind spectra, overlapped and added with the same window."""
    channels, frames, _ = changes.shape
    pieces = np.fft.irfft(changes, WINDOW, axis=-1) * window()
    total = np.zeros((channels, WINDOW + frames * HOP))
    weight = np.zeros(WINDOW + frames * HOP)
    squared = window() ** 2
    for frame in range(frames):
        here = slice(frame * HOP, frame * HOP + WINDOW)
        total[:, here] += pieces[:, frame]
        weight[here] += squared
    half = WINDOW // 2
    result: NDArray[np.float64] = total[:, half : half + length] / np.maximum(weight[half : half + length], 0.1)
    return result


def blocks(frames: int, rate: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Of a file of so many samples: `(start, stop, first, last, second)`, block after block.

    Samples `start:stop` are the block, `first:last` the block with its margins, all on whole seconds but for the end of
    the file; `second` is where the margins start.
    """
    for begin in range(0, -(-frames // rate), BLOCK_SECONDS):
        second = max(0, begin - MARGIN_SECONDS)
        start, stop = begin * rate, min(frames, (begin + BLOCK_SECONDS) * rate)
        yield start, stop, second * rate, min(frames, stop + MARGIN_SECONDS * rate), second
