"""Unbiased quantisation: stochastic rounding of real numbers onto an even grid, and back."""

import math
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import LocalProtocolError
from sottovoce.protocol.prg import SEED_BYTES, Keystream
from sottovoce.protocol.ring import RingArray

CHUNK = 1 << 14  # numbers; four temporaries of this size stay in the cache
SPREAD = 16.0
FRACTIONS = np.float32(1 << 24)  # resolution of a float32 in [0, 1)


@dataclass(frozen=True)
class Quantiser:
    """An even grid of 2^bits − 1 points over [−reach, reach], which includes zero.

    Args:
        bits: size of a quantised number.
        reach: largest magnitude; larger values are clamped to it.
    """

    bits: int
    reach: float

    @property
    def top(self) -> int:
        """The largest quantised number; zero maps to half of it."""
        return (1 << self.bits) - 2

    @property
    def step(self) -> float:
        """Distance between neighbouring grid points."""
        return 2 * self.reach / self.top

    def quantise(self, update: NDArray[np.float32], scale: float, out: RingArray) -> None:
        """Write `scale · update` onto the grid, rounded up or down at random so that the mean is exact.

        A number scaled in float32 splits exactly into a whole part and a fraction; it is rounded up when 24 random
        bits, from a fresh keystream, are less than the fraction.

        Args:
            update: `[n]`, finite.
            scale: factor, applied first.
            out: `[n]`, filled with 0 … `top`.
        """
        random = Keystream(os.urandom(SEED_BYTES))
        factor = np.float32(scale / self.step)
        half = self.top // 2
        value, floor, chance = (np.empty(CHUNK, np.float32) for _ in range(3))
        bits, whole = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.int32)
        for start in range(0, update.size, CHUNK):
            part = update[start : start + CHUNK]
            number = part.size
            v, f, c, r, w = value[:number], floor[:number], chance[:number], bits[:number], whole[:number]
            np.multiply(part, factor, out=v)
            np.clip(v, -half, half, out=v)
            np.floor(v, out=f)
            np.subtract(v, f, out=v)
            np.multiply(v, FRACTIONS, out=v)
            random.fill(r.view(np.uint8))
            np.right_shift(r, 8, out=r)
            np.copyto(c, r.view(np.int32))  # 24 bits, which float32 represents
            np.add(f, np.less(c, v), out=f)
            np.add(f, half, out=w, casting="unsafe")
            out[start : start + number] = w

    def mean(self, total: RingArray, count: int) -> NDArray[np.float32]:
        """The mean of `count` quantised vectors from their sum `[n]`, as float32 `[n]`."""
        mean = np.empty(total.size, np.float32)
        for start in range(0, total.size, CHUNK):
            part = total[start : start + CHUNK].astype(np.float64)
            mean[start : start + CHUNK] = (part / count - self.top // 2) * self.step
        return mean


def reach_of(clip: float, parameters: int) -> float:
    """Largest coordinate kept of a vector whose L2 norm is at most `clip`.

    A clipped update spreads over its coordinates, all the more with noise in it: their typical size is clip/√d. Sixteen
    times that keeps practically all coordinates of a normal distribution, and makes the grid √d/16 times finer than
    ±clip.
    """
    return clip * min(1.0, SPREAD / math.sqrt(parameters))


def norm_of(update: NDArray[np.float32] | NDArray[np.int64]) -> float:
    """The L2 norm of `[n]`, in double precision and a fixed order of additions: identical bits on every machine.

    Raises:
        LocalProtocolError: a number is not finite.
    """
    totals = np.zeros(CHUNK)  # places beyond the numbers stay 0, which no sum sees
    for start in range(0, update.size, CHUNK):
        part = update[start : start + CHUNK].astype(np.float64)
        part *= part
        totals[: part.size] += part
    while totals.size > 1:
        totals = totals[: totals.size // 2] + totals[totals.size // 2 :]
    total = float(totals[0])
    if not math.isfinite(total):
        raise LocalProtocolError("An update holds numbers that are not finite.", hint="The training diverged.")
    return math.sqrt(total)
