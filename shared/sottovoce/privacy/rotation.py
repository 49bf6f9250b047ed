"""The random rotation of distributed noise: signs and Walsh-Hadamard transforms, with identical bits on every machine.

Labels and coordinator must compute the same model from the same sum. The order of additions in a library's cosine
transform or matrix product depends on the processor; here each number is a fixed tree of float32 additions, in the
order of the loops below. A transform works on a power of two of numbers, m = 2^⌊log2 n⌋. It is applied to the first m
of n numbers and, unless n is a power of two, to the overlapping last m, with other signs; nothing is padded with zeros.
"""

import math

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 15  # numbers transformed at once; they and their copy fit in the cache


def rotate(vectors: NDArray[np.float32], signs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotate rows orthogonally: norms are preserved, and concentrated values are spread.

    Args:
        vectors: `[..., n]`.
        signs: ±1, `[2, n]`: signs before the first and the second transform.
    """
    size = signs.shape[1]
    rows = np.array(vectors, dtype=np.float32).reshape(-1, size)
    first, last = _ends(size)
    rows *= signs[0]
    _transform(rows[:, first])
    if last is not None:
        rows *= signs[1]
        _transform(rows[:, last])
    return rows.reshape(vectors.shape)


def rotate_back(vectors: NDArray[np.float32], signs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of `rotate`, up to float32's rounding."""
    size = signs.shape[1]
    rows = np.array(vectors, dtype=np.float32).reshape(-1, size)
    first, last = _ends(size)
    if last is not None:
        _transform(rows[:, last])
        rows *= signs[1]
    _transform(rows[:, first])
    rows *= signs[0]
    return rows.reshape(vectors.shape)


def _ends(size: int) -> tuple[slice, slice | None]:
    """The first and the last 2^⌊log2 n⌋ places; None instead of the last if they are the same."""
    power = 1 << (size.bit_length() - 1)
    return slice(0, power), slice(size - power, size) if power < size else None


def _transform(rows: NDArray[np.float32]) -> None:
    """The orthonormal Walsh-Hadamard transform of each row `[rows, m]`, in place."""
    size = rows.shape[1]
    high = 1 << (size.bit_length() // 2)
    low = size // high
    scale = np.float32(1 / math.sqrt(size))
    step = max(1, _BLOCK // size)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        # As a matrix [high, low], so that each butterfly's innermost loop is long: first its columns, then its rows.
        block = np.ascontiguousarray(part).reshape(-1, high, low)
        _butterflies(block)
        block = np.ascontiguousarray(block.transpose(0, 2, 1))
        _butterflies(block)
        np.multiply(block.transpose(0, 2, 1).reshape(part.shape), scale, out=part)


def _butterflies(block: NDArray[np.float32]) -> None:
    """The transform along the middle axis of `[rows, m, others]`, unscaled, in place."""
    rows, size, others = block.shape
    half = 1
    with np.errstate(invalid="ignore", over="ignore"):  # callers check that the result is finite
        while half < size:
            pairs = block.reshape(rows, size // (2 * half), 2, half * others)
            left, right = pairs[:, :, 0], pairs[:, :, 1]
            difference = left - right
            left += right
            right[...] = difference
            half *= 2
