"""A compressor of dynamics."""

import math

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.studio.editing.effect import Blocks

ATTACK_SECONDS = 0.005
RELEASE_SECONDS = 0.1
KNEE_DB = 6.0
STEP_SECONDS = 0.001
"""How often the gain is decided; between, it goes on a straight line."""
_QUIETEST = 1e-8


class Compressor:
    """Brings down what is louder than a threshold, in all channels alike.

    A feed-forward design with a soft knee and a smooth, decoupled peak detector in the logarithmic domain (Giannoulis,
    Massberg & Reiss, *J. Audio Eng. Soc.* 60(6), 2012). No gain makes up for what it takes away.

    Args:
        threshold: dB of full scale, 0 at most.
        ratio: decibels above the threshold that become one; 1 at least.

    Raises:
        ConfigurationError: a value makes no sense.
    """

    name = "compress"

    def __init__(self, threshold: float, ratio: float) -> None:
        if not -96 <= threshold <= 0:
            raise ConfigurationError(f"A threshold lies between -96 and 0 dB, not at {threshold:g} dB.")
        if not 1 <= ratio <= 100:
            raise ConfigurationError(f"A ratio lies between 1 and 100, not at {ratio:g}.")
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
        """How far each step `[steps, samples]` is to be brought down, dB."""
        level = 20 * np.log10(np.maximum(np.abs(steps).max(axis=1), _QUIETEST))
        over = level - self._threshold
        bent = np.clip(over + KNEE_DB / 2, 0, KNEE_DB) ** 2 / (2 * KNEE_DB)
        beyond = np.where(over > KNEE_DB / 2, over, bent)
        return beyond * (1 - 1 / self._ratio)
