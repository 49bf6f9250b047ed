"""Shamir's secret sharing (CACM 22:11, 1979), byte by byte over GF(2^8), for many secrets at once.

The field is that of AES and SLIP-0039 (x^8 + x^4 + x^3 + x + 1). Sharing each byte separately keeps the scheme perfect;
all holders' shares of all secrets of a round then take one table look-up per coefficient, whereas a prime field beyond
2^256 would need Python's integers. Holder number h (from 0) has x = h + 1.
"""

import os
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import LocalProtocolError
from sottovoce.protocol.violations import WrongShares

MOST_HOLDERS = 255
_POLYNOMIAL = 0x11B


@cache
def _powers() -> tuple[list[int], dict[int, int]]:
    """All 255 powers of the generator x + 1, and the logarithm of each field element but 0."""
    logarithms: dict[int, int] = {}
    value = 1
    while value not in logarithms:
        logarithms[value] = len(logarithms)
        value ^= value << 1
        if value >> 8:
            value ^= _POLYNOMIAL
    return list(logarithms), logarithms


def multiply(left: int, right: int) -> int:
    """Product of two field elements."""
    if not left or not right:
        return 0
    powers, logarithms = _powers()
    return powers[(logarithms[left] + logarithms[right]) % len(powers)]


def divide(left: int, right: int) -> int:
    """Quotient of two field elements, the second not 0."""
    if not left:
        return 0
    powers, logarithms = _powers()
    return powers[(logarithms[left] - logarithms[right]) % len(powers)]


@cache
def _times(factor: int) -> bytes:
    """The table of `factor` times each byte, for `bytes.translate`."""
    return bytes(multiply(factor, value) for value in range(256))


@cache
def _products() -> NDArray[np.uint8]:
    """`[256, 256]`: products of all pairs of field elements."""
    return np.array([list(_times(factor)) for factor in range(256)], np.uint8)


def _scaled(values: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    return np.frombuffer(values.tobytes().translate(_times(factor)), np.uint8)


def split(secrets: bytes, *, threshold: int, holders: int) -> NDArray[np.uint8]:
    """Share bytes so that any `threshold` holders can recover them and fewer learn nothing.

    Args:
        secrets: L bytes.
        threshold: from 1 to `holders`.
        holders: up to 255.

    Returns:
        `[holders, L]`: each holder's share.

    Raises:
        LocalProtocolError: the numbers are out of range.
    """
    if not 1 <= threshold <= holders <= MOST_HOLDERS:
        raise LocalProtocolError(f"Cannot share with threshold {threshold} among {holders} holders.")
    size = len(secrets)
    coefficients = np.frombuffer(os.urandom(size * (threshold - 1)), np.uint8).reshape(threshold - 1, size)
    points = np.arange(1, holders + 1)[:, None]
    shares = np.zeros((holders, size), np.uint8)
    for coefficient in coefficients:
        shares = _products()[points, shares ^ coefficient]
    return shares ^ np.frombuffer(secrets, np.uint8)


def combine(holders: Sequence[int], shares: NDArray[np.uint8], *, threshold: int) -> bytes:
    """Recover the shared bytes from the first `threshold` of these shares.

    Args:
        holders: indices (from 0) of the holders of these shares, all different.
        shares: `[len(holders), L]`. A wrong share cannot be detected here: callers check each by its tag.
        threshold: the threshold when sharing.

    Raises:
        WrongShares: fewer than `threshold`, or a holder twice.
    """
    if len(set(holders)) != len(holders) or len(holders) < threshold:
        raise WrongShares(f"{len(set(holders))} holders sent shares; {threshold} are needed.")
    points = [holder + 1 for holder in holders[:threshold]]
    return _interpolate(points, shares, 0).tobytes()


def _interpolate(points: list[int], shares: NDArray[np.uint8], at: int) -> NDArray[np.uint8]:
    """Lagrange interpolation; subtraction is XOR in this field."""
    total = np.zeros(shares.shape[1], np.uint8)
    for index, point in enumerate(points):
        weight = 1
        for other in points:
            if other != point:
                weight = multiply(weight, divide(at ^ other, point ^ other))
        total ^= _scaled(shares[index], weight)
    return total
