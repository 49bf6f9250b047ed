"""Shamir's secret sharing (CACM 22:11, 1979), byte by byte over GF(2^8), many secrets at a time.

The field is that of AES and SLIP-0039 (x^8 + x^4 + x^3 + x + 1). Sharing every byte by itself keeps the scheme perfect,
and lets all secrets of a round go through one table look-up a coefficient: 64 holders' shares of 64 seeds take a few
milliseconds, where a prime field beyond 2^256 takes Python's integers some hundred. Holder number h (from 0) has
x = h + 1.
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
_GENERATOR = 3


@cache
def _powers() -> tuple[list[int], list[int]]:
    """Powers of the generator (each twice in a row, so that exponents need no reduction), and logarithms."""
    powers, logarithms = [0] * 510, [0] * 256
    value = 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logarithms[value] = exponent
        value ^= value << 1  # times the generator, x + 1
        if value > 255:
            value ^= _POLYNOMIAL
    return powers, logarithms


def multiply(left: int, right: int) -> int:
    """Product of two field elements."""
    if not left or not right:
        return 0
    powers, logarithms = _powers()
    return powers[logarithms[left] + logarithms[right]]


def divide(left: int, right: int) -> int:
    """Quotient of two field elements, the second not 0."""
    if not left:
        return 0
    powers, logarithms = _powers()
    return powers[logarithms[left] + 255 - logarithms[right]]


@cache
def _times(factor: int) -> bytes:
    """The table of `factor` times each byte, for `bytes.translate`."""
    return bytes(multiply(factor, value) for value in range(256))


def _scaled(values: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    return np.frombuffer(values.tobytes().translate(_times(factor)), np.uint8)


def split(secrets: bytes, *, threshold: int, holders: int) -> NDArray[np.uint8]:
    """Share some bytes so that any `threshold` holders know them and fewer know nothing.

    Args:
        secrets: L bytes.
        threshold: from 1 to `holders`.
        holders: up to 255.

    Returns:
        `[holders, L]`: each holder's share.

    Raises:
        LocalProtocolError: these numbers cannot be.
    """
    if not 1 <= threshold <= holders <= MOST_HOLDERS:
        raise LocalProtocolError(f"Cannot share with threshold {threshold} among {holders} holders.")
    size = len(secrets)
    secret = np.frombuffer(secrets, np.uint8)
    random = np.frombuffer(os.urandom(size * (threshold - 1)), np.uint8).reshape(threshold - 1, size)
    shares = np.empty((holders, size), np.uint8)
    for holder in range(holders):
        value: NDArray[np.uint8] = np.zeros(size, np.uint8)
        for coefficient in random:
            value = _scaled(value ^ coefficient, holder + 1)
        shares[holder] = value ^ secret
    return shares


def combine(holders: Sequence[int], shares: NDArray[np.uint8], *, threshold: int) -> bytes:
    """The bytes that were shared. What holders beyond the threshold gave must fit, too.

    Args:
        holders: numbers (from 0) of those who gave a share, each once.
        shares: `[len(holders), L]`.
        threshold: how many were needed when it was shared.

    Raises:
        WrongShares: fewer than `threshold`, a holder twice, or a share beyond the threshold that does not lie on the
            polynomial of the others (whose share is wrong cannot be told).
    """
    if len(set(holders)) != len(holders) or len(holders) < threshold:
        raise WrongShares(f"{len(set(holders))} holders gave shares, and {threshold} are needed.")
    points = [holder + 1 for holder in holders[:threshold]]
    for holder, share in zip(holders[threshold:], shares[threshold:], strict=True):
        if not np.array_equal(_interpolate(points, shares, holder + 1), share):
            raise WrongShares(f"The shares of {len(holders)} holders do not lie on one polynomial.")
    return _interpolate(points, shares, 0).tobytes()


def _interpolate(points: list[int], shares: NDArray[np.uint8], at: int) -> NDArray[np.uint8]:
    """Lagrange interpolation; subtraction is exclusive or in this field."""
    total = np.zeros(shares.shape[1], np.uint8)
    for index, point in enumerate(points):
        weight = 1
        for other in points:
            if other != point:
                weight = multiply(weight, divide(at ^ other, point ^ other))
        total ^= _scaled(shares[index], weight)
    return total
