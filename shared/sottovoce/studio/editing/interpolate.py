"""Baseline of repair: linear interpolation of STFT magnitudes across the gap."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from threadpoolctl import threadpool_limits

from sottovoce.audio.overlap_add import cross_fade, raised_cosine
from sottovoce.studio.editing import linear_prediction
from sottovoce.studio.editing.repairer import Repairer

WINDOW_SECONDS = 0.046
OVERLAP = 4
ITERATIONS = 32
SEAM_SECONDS = 0.002
"""Length, in seconds, at each end of a gap over which linear prediction joins it seamlessly to its surroundings."""
_TINY = 1e-9


class InterpolatingRepairer(Repairer):
    """Linear interpolation of the STFT's magnitudes, bin by bin.

    Phases are extrapolated from the left at each bin's frequency (phase vocoder), then adapted to the samples on both
    sides by iteration (Griffin & Lim, 1984).
    """

    name = "interpolate"
    context_seconds = 0.5

    def fill(
        self, before: NDArray[np.float64], after: NDArray[np.float64], frames: int, sample_rate: int
    ) -> NDArray[np.float64]:
        """See `Repairer.fill`."""
        size = OVERLAP * max(4, round(WINDOW_SECONDS * sample_rate / OVERLAP))
        hop = size // OVERLAP
        transform = ShortTimeFFT(hann(size, sym=False), hop, fs=sample_rate)
        # Two windows on each side, so that the frames beside the gap contain nothing of it.
        around = 2 * size
        left, right = (_padded(side, around) for side in (before[::-1], after))
        known = np.concatenate([left[::-1], np.zeros((frames, before.shape[1])), right]).T
        gap = slice(around, around + frames)
        missing = _touched(transform, known.shape[1], gap)
        magnitudes = np.abs(transform.stft(known))
        first, last = int(missing[0]) - 1, int(missing[-1]) + 1
        edges = [magnitudes[..., first], magnitudes[..., last]]
        if not len(before):
            edges[0] = edges[1]
        if not len(after):
            edges[1] = edges[0]
        weight = np.arange(1, len(missing) + 1) / (len(missing) + 1)
        targets = edges[0][..., None] * (1 - weight) + edges[1][..., None] * weight
        filled = _phased(transform, known, gap, missing, targets)
        seam = min(round(SEAM_SECONDS * sample_rate), frames // 2)
        return _joined(filled.T, before, after, seam)


def _joined(
    filled: NDArray[np.float64], before: NDArray[np.float64], after: NDArray[np.float64], seam: int
) -> NDArray[np.float64]:
    """The filling of a gap `[frames, channels]`, cross-faded with linear prediction at each end."""
    rise = raised_cosine(seam)
    for inner, side in ((filled, before), (filled[::-1], after[::-1])):
        if len(side):
            with threadpool_limits(1):
                expected = [linear_prediction.extrapolate(channel, seam) for channel in side.T]
            inner[:seam] = cross_fade(np.stack(expected, axis=1), inner[:seam], rise)
    return filled


def _padded(side: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return np.pad(side[:length], ((0, max(0, length - len(side))), (0, 0)))


def _touched(transform: ShortTimeFFT, length: int, gap: slice) -> NDArray[np.int64]:
    """Indices of the frames whose windows reach into the gap."""
    places = np.arange(transform.p_min, transform.p_max(length)) * transform.hop
    half = transform.m_num // 2
    return np.flatnonzero((places + half > gap.start) & (places - half < gap.stop))


def _phased(
    transform: ShortTimeFFT,
    known: NDArray[np.float64],
    gap: slice,
    missing: NDArray[np.int64],
    targets: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The gap's samples, `[channels, gap]`."""
    length = known.shape[1]
    spectrum = transform.stft(known)
    first = int(missing[0])
    before = spectrum[..., max(0, first - 2) : first]
    advance = before[..., -1] * np.conj(before[..., 0])
    steps = advance / np.maximum(np.abs(advance), _TINY)
    phases = before[..., -1:] * steps[..., None] ** np.arange(1, len(missing) + 1)
    for _ in range(ITERATIONS):
        spectrum[..., missing] = targets * phases / np.maximum(np.abs(phases), _TINY)
        known[:, gap] = transform.istft(spectrum, k1=length)[:, gap]
        spectrum = transform.stft(known)
        phases = spectrum[..., missing]
    return known[:, gap]
