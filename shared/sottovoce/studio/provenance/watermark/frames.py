"""Short-time spectra at the watermark's sample rate, block by block, in bounded memory."""

from collections.abc import Iterable, Iterator
from math import gcd

import numpy as np
from numpy.typing import NDArray

from sottovoce.studio.provenance.watermark.pattern import HOP, WINDOW

BLOCK_SECONDS = 20
MARGIN_SECONDS = 1
"""Audio around a block, seconds: longer than filters and windows."""


def resampled(samples: NDArray[np.float64], rate: int, wanted: int) -> NDArray[np.float64]:
    """Resample `[..., n]` to another rate (Hz), without delay (polyphase, Kaiser window)."""
    from scipy.signal import resample_poly

    if rate == wanted:
        return samples
    common = gcd(rate, wanted)
    return resample_poly(samples, wanted // common, rate // common, axis=-1)


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
    """Samples `[channels, length]` from spectra, by overlap-add with the same window."""
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
    return total[:, half : half + length] / np.maximum(weight[half : half + length], 0.1)


def windows(blocks: Iterable[NDArray[np.floating]], rate: int) -> Iterator[tuple[NDArray[np.floating], int, int, int]]:
    """Split audio `[channels, n]` in pieces of any length into blocks of whole seconds with margins around them.

    Yields:
        The block with its margins; the block's start within it; the block's length; the second at which the margin
            before it starts. The last block is up to one margin longer than the others.
    """
    size, margin = BLOCK_SECONDS * rate, MARGIN_SECONDS * rate
    parts: list[NDArray[np.floating]] = []
    held = before = second = 0
    for block in blocks:
        parts.append(block)
        held += block.shape[1]
        while held >= before + size + margin:
            whole = np.concatenate(parts, axis=1)
            yield whole[:, : before + size + margin], before, size, second
            parts = [whole[:, before + size - margin :]]
            held = parts[0].shape[1]
            second += BLOCK_SECONDS - (0 if before else MARGIN_SECONDS)
            before = margin
    if held > before:
        yield np.concatenate(parts, axis=1), before, held - before, second
