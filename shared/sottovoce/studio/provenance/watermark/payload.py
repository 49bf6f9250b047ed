"""The payload: 48 bits and a 16-bit checksum, as eight words of a first-order Reed-Muller code.

Each byte becomes 128 signs: a row of a Hadamard matrix, or its negative. Maximum-likelihood decoding of soft values is
one matrix product (Macwilliams and Sloane, *The theory of error-correcting codes*, ch. 14).
"""

import binascii
from functools import cache

import numpy as np
from numpy.typing import NDArray

PAYLOAD_BYTES = 6
_CHECK_BYTES = 2
_WORD = 128
CODED_BITS = (PAYLOAD_BYTES + _CHECK_BYTES) * _WORD


@cache
def _rows() -> NDArray[np.int8]:
    from scipy.linalg import hadamard

    return hadamard(_WORD, dtype=np.int8)


def encode(payload: bytes) -> NDArray[np.int8]:
    """The signs (+1 or -1, `[CODED_BITS]`) of a payload of 6 bytes."""
    if len(payload) != PAYLOAD_BYTES:
        raise ValueError(f"Expected a payload of {PAYLOAD_BYTES} bytes, not {len(payload)}.")
    data = np.frombuffer(payload + _check(payload), dtype=np.uint8)
    words = _rows()[data & 0x7F] * np.where(data & 0x80, -1, 1)[:, None]
    return words.reshape(-1).astype(np.int8)


def decode(soft: NDArray[np.floating]) -> bytes | None:
    """The likeliest payload behind soft signs `[CODED_BITS]`; None if its checksum is wrong."""
    scores = soft.reshape(-1, _WORD) @ _rows().T.astype(np.float64)
    best = np.abs(scores).argmax(axis=1)
    negative = scores[np.arange(len(best)), best] < 0
    data = (best | (negative.astype(np.int64) << 7)).astype(np.uint8).tobytes()
    payload, check = data[:PAYLOAD_BYTES], data[PAYLOAD_BYTES:]
    return payload if check == _check(payload) else None


def _check(payload: bytes) -> bytes:
    return binascii.crc_hqx(payload, 0xFFFF).to_bytes(_CHECK_BYTES, "big")
