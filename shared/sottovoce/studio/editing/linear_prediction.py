"""Autoregressive interpolation: missing samples are predicted linearly from their surroundings.

Short gaps by the least-squares method of Janssen, Veldhuis & Vries (IEEE Trans. ASSP 34(2), 1986); longer ones by
extrapolation from both sides with Burg's predictor, cross-faded (Kauppinen & Roth, DAFx 2002).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, solve_toeplitz
from scipy.signal import lfilter, lfiltic

from sottovoce.audio.overlap_add import cross_fade

Samples = NDArray[np.float64]

ITERATIONS = 4
LONGEST_JANSSEN = 3_000
"""Longest gap for Janssen's method, samples; its cost is quadratic, and extrapolation is as good for longer ones."""
HIGHEST_ORDER = 1_000
CONTEXT = 16_384
"""Number of samples on each side from which a predictor is estimated."""

_RIDGE = 1e-9
_QUIET = 1e-12


def fill(before: Samples, after: Samples, frames: int) -> Samples:
    """The missing samples between two stretches of one channel: `[frames]`, finite, at most twice their peak.

    Args:
        before: samples before the gap, `[n]`; may be empty if the gap starts a file.
        after: samples after it, `[m]`; may be empty if it ends one. At least one is not empty.
        frames: length of the gap.
    """
    before, after = before[-CONTEXT:], after[:CONTEXT]
    context = np.concatenate([before, after])
    peak = float(np.abs(context).max(initial=0.0))
    if peak < _QUIET:
        return np.zeros(frames)
    filled = _extrapolated(before, after, frames)
    if len(before) and len(after) and frames <= LONGEST_JANSSEN:
        filled = _janssen(before, after, filled)
    return np.clip(np.nan_to_num(filled), -2 * peak, 2 * peak)


def extrapolate(known: Samples, frames: int) -> Samples:
    """Extrapolate a stretch, `[frames]`, with Burg's predictor, which is stable, so the result decays."""
    known = known[-CONTEXT:]
    order = min(HIGHEST_ORDER, len(known) // 3)
    if order < 1 or np.abs(known).max() < _QUIET:
        return np.zeros(frames)
    predictor = burg(known, order)
    state = lfiltic([1.0], predictor, known[::-1][:order])
    return lfilter([1.0], predictor, np.zeros(frames), zi=state)[0]


def burg(known: Samples, order: int) -> Samples:
    """Coefficients `[order + 1]` of the prediction error filter, the first 1, by Burg's method.

    It minimises forward and backward errors together, and yields a stable filter.
    """
    coefficients = np.ones(1)
    forward, backward = known[1:].copy(), known[:-1].copy()
    for _ in range(order):
        energy = float(forward @ forward + backward @ backward)
        if energy < _QUIET * _QUIET:
            break
        reflection = -2.0 * float(forward @ backward) / energy
        padded = np.append(coefficients, 0.0)
        coefficients = padded + reflection * padded[::-1]
        forward, backward = (forward + reflection * backward)[1:], (backward + reflection * forward)[:-1]
    return coefficients


def _extrapolated(before: Samples, after: Samples, frames: int) -> Samples:
    """Extrapolations of both sides into the gap, cross-faded over its whole length."""
    ahead = extrapolate(before, frames) if len(before) else None
    back = extrapolate(after[::-1], frames)[::-1] if len(after) else None
    if ahead is None or back is None:
        only = ahead if back is None else back
        return np.zeros(frames) if only is None else only
    fall = np.cos(np.pi / 2 * (np.arange(frames) + 0.5) / frames) ** 2
    return cross_fade(ahead, back, 1 - fall, fall)


def _janssen(before: Samples, after: Samples, start: Samples) -> Samples:
    """Alternate between estimating the predictor of the whole stretch and the samples that it predicts best."""
    frames, left = len(start), len(before)
    whole = np.concatenate([before, start, after])
    order = min(3 * frames + 2, HIGHEST_ORDER, len(whole) // 4, left, len(after))
    if order < 1:
        return start
    gap = slice(left, left + frames)
    near = slice(left - order, left + frames + order)
    for _ in range(ITERATIONS):
        try:
            predictor = _predictor(whole, order)
            # The error filter's autocorrelation gives the normal equations, which are Toeplitz.
            lags = np.correlate(predictor, predictor, "full")[order:]
            known = whole[near].copy()
            known[order : order + frames] = 0.0
            wanted = -np.convolve(known, np.concatenate([lags[:0:-1], lags]), "valid")
            column = np.zeros(frames)
            column[: order + 1] = lags[:frames]
            column[0] *= 1 + _RIDGE
            whole[gap] = solve_toeplitz(column, wanted)
        except LinAlgError:
            return start
    found = whole[gap]
    return found if np.isfinite(found).all() else start


def _predictor(samples: Samples, order: int) -> Samples:
    """The prediction error filter `[order + 1]` by the autocorrelation method."""
    size = 1 << (len(samples) + order).bit_length()
    lags = np.fft.irfft(np.abs(np.fft.rfft(samples, size)) ** 2)[: order + 1]
    lags[0] *= 1 + _RIDGE
    return np.concatenate([[1.0], solve_toeplitz(lags[:order], -lags[1 : order + 1])])
