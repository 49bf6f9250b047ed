"""The watermark's grid in time and frequency, and which sign each of its cells takes.

A period is 41 chips of a tenth of a second, in 72 bands between 0.3 and 7 kHz. The lower and the upper half of the
bands each carry the whole payload in 1,024 cells, so that low-passed audio keeps one of them; the other cells are a
fixed pilot that tells where a period starts. Which cell is what, and its sign, follow from SHAKE-256 of the public name
of this version: anybody can read the mark, and other constants than these read no older one.
"""

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sottovoce.studio.provenance.watermark.payload import CODED_BITS

KEY = b"sottovoce/watermark/1"

RATE = 16_000
"""Hz at which marks are made and read, whatever the file's sample rate."""
HOP = 320
"""Samples between two frames: 20 ms."""
WINDOW = 1_024
FRAMES_PER_CHIP = 5
CHIPS = 41
"""Chips of a period; no multiple of a bar at the commonest tempi, so that repeating music averages out."""
BANDS = 72
"""The lower half of them lies below 3.7 kHz."""
BINS_PER_BAND = 6
FIRST_BIN = 19
FRAMES = CHIPS * FRAMES_PER_CHIP
PERIOD_SECONDS = FRAMES * HOP / RATE
LOWEST_RATE = 8_000
"""Hz: a file of a lower sample rate cannot hold the bands."""


@dataclass(frozen=True)
class Pattern:
    """A key's view of the grid.

    Args:
        signs: of each cell, +1 or -1, `[CHIPS * BANDS]` int8.
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
    """The pattern of a key; the same on every machine."""
    cells = CHIPS * BANDS
    stream = hashlib.shake_256(key).digest(9 * cells)
    order = np.argsort(np.frombuffer(stream[: 8 * cells], dtype="<u8"), kind="stable")
    signs = np.where(np.frombuffer(stream[8 * cells :], dtype=np.uint8) & 1, 1, -1).astype(np.int8)
    upper = order % BANDS >= BANDS // 2
    data = np.stack([order[~upper][:CODED_BITS], order[upper][:CODED_BITS]])
    return Pattern(signs, np.setdiff1d(order, data), data)
