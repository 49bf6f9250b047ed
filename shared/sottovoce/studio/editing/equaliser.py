"""A parametric equaliser."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt

from sottovoce.errors import ConfigurationError
from sottovoce.studio.editing.effect import Blocks

LOUDEST_DB = 36.0
USUAL_Q = 1.0


@dataclass(frozen=True)
class Band:
    """A peaking filter.

    Args:
        frequency: centre frequency, Hz.
        gain: gain at the centre, dB.
        q: quality factor, frequency divided by bandwidth.

    Raises:
        ConfigurationError: a value is out of range.
    """

    frequency: float
    gain: float
    q: float = USUAL_Q

    def __post_init__(self) -> None:
        if not 0 < self.frequency < np.inf:
            raise ConfigurationError(f"An equaliser band must be above 0 Hz, not at {self.frequency:g} Hz.")
        if not abs(self.gain) <= LOUDEST_DB:
            raise ConfigurationError(f"A band's gain must be within ±{LOUDEST_DB:g} dB, not {self.gain:g} dB.")
        if not 0.1 <= self.q <= 100:
            raise ConfigurationError(f"A band's Q must be between 0.1 and 100, not {self.q:g}.")


class Equaliser:
    """Peaking filters in series.

    The coefficients are those of the Audio EQ Cookbook (R. Bristow-Johnson, W3C Working Group Note, 2021), peaking EQ.

    Args:
        bands: at least one.
    """

    name = "eq"

    def __init__(self, bands: Sequence[Band]) -> None:
        self._bands = bands

    def process(self, blocks: Blocks, sample_rate: int) -> Blocks:
        """See `Effect.process`.

        Raises:
            ConfigurationError: a band lies above half the sample rate.
        """
        for band in self._bands:
            if band.frequency >= sample_rate / 2:
                raise ConfigurationError(
                    f"Audio at {sample_rate} Hz ends at {sample_rate / 2:g} Hz, below {band.frequency:g} Hz."
                )
        sections = np.stack([_section(band, sample_rate) for band in self._bands])
        state = None
        for block in blocks:
            if state is None:
                state = np.zeros((len(sections), 2, block.shape[1]))
            filtered, state = sosfilt(sections, block, axis=0, zi=state)
            yield filtered


def _section(band: Band, sample_rate: int) -> NDArray[np.float64]:
    omega = 2 * np.pi * band.frequency / sample_rate
    alpha, root = np.sin(omega) / (2 * band.q), 10 ** (band.gain / 40)
    middle = -2 * np.cos(omega)
    section = np.array([1 + alpha * root, middle, 1 - alpha * root, 1 + alpha / root, middle, 1 - alpha / root])
    return section / section[3]
