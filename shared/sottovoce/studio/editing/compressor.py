"""A dynamic range compressor."""

import math

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.studio.editing.effect import Blocks

ATTACK_SECONDS = 0.005
RELEASE_SECONDS = 0.1
KNEE_DB = 6.0
STEP_SECONDS = 0.001
"""Interval between updates of the gain, seconds; between updates it is interpolated linearly."""
_QUIETEST = 1e-8


class Compressor:
    """Attenuates levels above a threshold, equally in all channels.

    A feed-forward design with a soft knee and a smooth, decoupled peak detector in the logarithmic domain (Giannoulis,
    Massberg & Reiss, *J. Audio Eng. Soc.* 60(6), 2012), without make-up gain.

    Args:
        threshold: dB of full scale, at most 0.
        ratio: input decibels above the threshold per output decibel; at least 1.

    Raises:
        ConfigurationError: a value is out of range.
    """

    name = "compress"

    def __init__(self, threshold: float, ratio: float) -> None:
        if not -96 <= threshold <= 0:
            raise ConfigurationError(f"The threshold must be between -96 and 0 dB, not {threshold:g} dB.")
        if not 1 <= ratio <= 100:
            raise ConfigurationError(f"The ratio must be between 1 and 100, not {ratio:g}.")
        self._threshold, self._ratio = threshold, ratio

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`."""
        step = max(1, round(STEP_SECONDS * sample_rate))
        attack, release = (math.exp(-step / (time * sample_rate)) for time in (ATTACK_SECONDS, RELEASE_SECONDS))
        peak = smooth = last = 0.0
        left: NDArray[np.float64] | None = None
        for block in blocks:
            held = block if left is None else np.concatenate([left, block])
            whole = len(held) // step * step
            left = held[whole:]
            if not whole:
                continue
            wanted = self._reduction(held[:whole].reshape(whole // step, -1))
            gains = [last]
            for reduction in wanted.tolist():
                peak = max(reduction, release * peak + (1 - release) * reduction)
                smooth = attack * smooth + (1 - attack) * peak
                gains.append(-smooth)
            last = gains[-1]
            places = np.arange(1, whole + 1) / step
            decibels = np.interp(places, np.arange(len(gains)), gains)
            yield held[:whole] * (10 ** (decibels / 20))[:, None]
        if left is not None and len(left):
            yield left * 10 ** (last / 20)

    def _reduction(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gain reduction of each step `[steps, samples]`, dB."""
        level = 20 * np.log10(np.maximum(np.abs(steps).max(axis=1), _QUIETEST))
        over = level - self._threshold
        bent = np.clip(over + KNEE_DB / 2, 0, KNEE_DB) ** 2 / (2 * KNEE_DB)
        beyond = np.where(over > KNEE_DB / 2, over, bent)
        return beyond * (1 - 1 / self._ratio)
