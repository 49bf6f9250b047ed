"""The watermark's time-frequency grid and the sign of each of its cells.

A period is 41 chips of a tenth of a second, in 72 bands between 0.3 and 7 kHz. The lower and the upper half of the
bands each carry the whole payload in 1,024 cells, so that low-passed audio keeps one copy; the other cells are a fixed
pilot that marks the start of a period. SHAKE-256 of this version's public name determines the role and sign of each
cell: anybody can read the mark, and changing these constants makes older marks unreadable.
"""

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sottovoce.studio.provenance.watermark.payload import CODED_BITS

KEY = b"sottovoce/watermark/1"

RATE = 16_000
"""Sample rate at which marks are embedded and read, Hz, for files of any rate."""
HOP = 320
"""Distance between frames, samples (20 ms)."""
WINDOW = 1_024
FRAMES_PER_CHIP = 5
CHIPS = 41
"""Chips per period; not a multiple of a bar at common tempi, so that repetitive music averages out."""
BANDS = 72
"""Number of bands; the lower half lies below 3.7 kHz."""
BINS_PER_BAND = 6
FIRST_BIN = 19
FRAMES = CHIPS * FRAMES_PER_CHIP
PERIOD_SECONDS = FRAMES * HOP / RATE
LOWEST_RATE = 8_000
"""Lowest sample rate of a marked file, Hz; below it the bands do not fit."""


@dataclass(frozen=True)
class Pattern:
    """The grid as seen with a key.

    Args:
        signs: sign of each cell, +1 or -1, `[CHIPS * BANDS]` int8.
        pilots: indices of the cells with a fixed sign.
        data: indices of the cells of each coded bit, one in each half of the bands, `[2, CODED_BITS]`.
    """

    signs: NDArray[np.int8]
    pilots: NDArray[np.int64]
    data: NDArray[np.int64]

    def marked(self, bits: NDArray[np.int8]) -> NDArray[np.int8]:
        """The sign of each cell for these coded bits (+1 or -1, `[CODED_BITS]`): `[CHIPS, BANDS]`."""
        cells = self.signs.copy()
        cells[self.data] *= bits
        return cells.reshape(CHIPS, BANDS)


@cache
def pattern(key: bytes = KEY) -> Pattern:
    """The pattern of a key, equal on every machine."""
    cells = CHIPS * BANDS
    stream = hashlib.shake_256(key).digest(9 * cells)
    order = np.argsort(np.frombuffer(stream[: 8 * cells], dtype="<u8"), kind="stable")
    signs = np.where(np.frombuffer(stream[8 * cells :], dtype=np.uint8) & 1, 1, -1).astype(np.int8)
    upper = order % BANDS >= BANDS // 2
    data = np.stack([order[~upper][:CODED_BITS], order[upper][:CODED_BITS]])
    pilots = np.ones(cells, dtype=np.bool_)
    pilots[data] = False
    return Pattern(signs, np.flatnonzero(pilots), data)
