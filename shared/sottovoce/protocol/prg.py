"""Masks: AES-256-CTR keystreams, expanded in cache-sized chunks and added in place.

A seed of 32 bytes is an AES-256 key for this one keystream (counter from 0), read as little-endian ring elements. AES
in counter mode (NIST SP 800-38A, section 6.5) under a key used once is a pseudo-random generator.
"""

from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

from sottovoce.protocol.ring import RingArray

SEED_BYTES = 32
CHUNK_BYTES = 1 << 17  # keystream, sum and zeros together stay in a core's second-level cache
_ZEROS = memoryview(bytes(CHUNK_BYTES))


class Keystream:
    """PRG(seed), from its start.

    Args:
        seed: 32 bytes, used for one keystream only.
    """

    def __init__(self, seed: bytes) -> None:
        self._cipher = Cipher(AES(seed), CTR(bytes(16))).encryptor()

    def fill(self, buffer: NDArray[np.uint8]) -> None:
        """Write the next bytes into all of `buffer` (`[n]`, at most `CHUNK_BYTES`)."""
        self._cipher.update_into(_ZEROS[: buffer.size], buffer.data)


def add_masks(vector: RingArray, *, plus: Iterable[bytes] = (), minus: Iterable[bytes] = ()) -> None:
    """Add PRG(seed) for each seed of `plus` and subtract it for each of `minus`, in place.

    Args:
        vector: `[elements]`, uint16 or uint32, contiguous. A 24-bit ring's elements are left unreduced.
        plus: seeds of 32 bytes.
        minus: seeds of 32 bytes.
    """
    streams = [(np.add, Keystream(seed)) for seed in plus] + [(np.subtract, Keystream(seed)) for seed in minus]
    step = CHUNK_BYTES // vector.itemsize
    buffer = np.empty(CHUNK_BYTES, np.uint8)
    for start in range(0, vector.size, step):
        part = vector[start : start + step]
        filled = buffer[: part.nbytes]
        mask = filled.view(vector.dtype)
        for combine, stream in streams:
            stream.fill(filled)
            combine(part, mask, out=part)
