"""The discrete Gaussian N_Z(0, v), sampled exactly: P(x) ∝ exp(−x²/(2v)) on the integers, v the float's exact value.

Rejection sampling with exact proposals, so that one decision remains: is a uniform U below a real number p? It is made
lazily: U's first bits are nearly always conclusive; if not, U gets further bits, and p further digits, until they are.
No outcome depends on how a float was rounded.

*Proposals.* `Table` covers the integers [−B·w, B·w) with blocks of w = 2^shift integers (w near σ/32, or 1) and divides
2¹⁶ equal cells among them: block b has `heights[b]`. The rest of the line, on both sides, has at least one cell. A
uniform word's first 16 bits pick the cell, the next `shift` bits the integer in its block. Beyond the blocks a coin
picks the side, a geometric variable (coins until heads) the step of 2^tail_shift integers, fair bits the integer in it.
So every integer is proposed with a rational, known probability, and the table truncates nothing.

*Acceptance.* With f(x) = exp(−x²/(2v)), x is accepted with probability p(x) = `scale`·f(x)/heights[b] in a block, and
in step g of the tail with p(x) = `scale`·f(x)·2^(g + 2)·2^(tail_shift − shift)/`tail_height`: in both cases the same
multiple of f(x) over the probability of proposing x, hence P(x | accepted) ∝ f(x) for any table. This requires p(x) <=
1, which holds as heights[b] >= scale·f at the block's integer nearest to 0, and in the tail since f falls by more than
half from one step to the next. Heights are computed as upper bounds, in decimal arithmetic of known error.

*Deciding U < p(x).* The word's last bits are the first `bits` of U. `certain` is a lower bound, for each block, on
2^bits·p at its integer farthest from 0: below it U < p for the whole block (97 of 100 draws). Otherwise p is computed
in float64, whose relative error here is below 2⁻⁴⁶ if exp errs by less than 64 ulps (libraries claim 1 to 4); within a
margin of 2⁻⁴⁰ the result is inconclusive, and `_below` decides with Python's `decimal`, whose division and exp are
correctly rounded by specification.

The time that a draw takes depends on its value, as in every rejection sampler: about one in 10⁵ is slow.
"""

import decimal
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import PrivacyError
from sottovoce.randomness import Randomness

LEAST_VARIANCE = 1e-4
LARGEST_VARIANCE = 2.0**60
"""Largest variance; draws then fit int64 except with probability exp(−2⁶⁵)."""

CELL_BITS = 16
WORD_BITS = 64
REACH = 5.25
"""Standard deviations that the blocks cover; the slow tail beyond gets about 2⁻¹⁶ of the proposals."""
BLOCKS_PER_STD = 32
CHUNK = 1 << 14  # words (128 KiB); they stay in cache between the stages of `sample`
MARGIN = 2.0**-40
DIGITS = 30
"""Decimal digits for a table; the relative error of its bounds is below 10⁻²⁵."""


def sample(randomness: Randomness, variance: float, size: int) -> NDArray[np.int64]:
    """Independent integers from N_Z(0, variance): `[size]`.

    Args:
        randomness: where the words come from.
        variance: the parameter v, taken as the float's exact value; see `variance_of` for the variance of the result.
        size: number of integers, >= 0.

    Raises:
        PrivacyError: the variance is not in [10⁻⁴, 2⁶⁰], or the size is negative.
    """
    if not LEAST_VARIANCE <= variance <= LARGEST_VARIANCE:  # also catches NaN
        raise PrivacyError(f"Expected variance={variance} in [{LEAST_VARIANCE:g}, 2⁶⁰] for a discrete Gaussian.")
    if size < 0:
        raise PrivacyError(f"Expected size={size} >= 0.")
    table = table_for(float(variance))
    drawn = np.empty(size, dtype=np.int64)
    filled = 0
    while filled < size:
        # Never draws more words than integers are missing: every accepted one is used, in order.
        accepted = _accepted(table, randomness, min(CHUNK, size - filled))
        drawn[filled : filled + len(accepted)] = accepted
        filled += len(accepted)
    return drawn


def variance_of(variance: float) -> float:
    """The variance of N_Z(0, variance), to float64: slightly below the parameter, and far below for small ones.

    By Poisson summation the two differ by a factor 1 − O(v·exp(−2π²v)), invisible in float64 from v = 3 on.
    """
    if variance >= 3:
        return variance
    terms = [(x, math.exp(-x * x / (2 * variance))) for x in range(1, 80)]
    return 2 * math.fsum(x * x * weight for x, weight in terms) / (1 + 2 * math.fsum(weight for _, weight in terms))


@dataclass(frozen=True, eq=False)
class Table:
    """Proposals for one variance and what accepting them needs; the module's docstring explains both.

    Args:
        variance: v, exactly.
        shift: log2 of the integers in a block.
        tail_shift: log2 of the integers in a step of the tail.
        scale: the multiple of f that acceptance uses.
        heights: cells of each block, leftmost first, `[2·B]`; they and `tail_height` add up to 2¹⁶.
        tail_height: cells of the tail.
        block_of: the block of each cell, 2·B for the tail, `[2¹⁶]`.
        starts: leftmost integer of each block (0 for the tail), `[2·B + 1]`.
        certain: any U whose first bits, as an integer, are below this is below p on the whole block, `[2·B + 1]`.
        limits: 2^bits·scale/heights, the factor of f in 2^bits·p (0 for the tail), `[2·B + 1]`.
    """

    variance: Fraction
    shift: int
    tail_shift: int
    scale: int
    heights: NDArray[np.int64]
    tail_height: int
    block_of: NDArray[np.int16]
    starts: NDArray[np.int64]
    certain: NDArray[np.uint64]
    limits: NDArray[np.float64]

    @property
    def bits(self) -> int:
        """Number of a word's bits that serve as the first bits of U."""
        return WORD_BITS - CELL_BITS - self.shift

    @property
    def blocks(self) -> int:
        """B, the number of blocks on each side of 0."""
        return len(self.heights) // 2


@lru_cache(maxsize=8)
def table_for(variance: float) -> Table:
    """The table for a variance; the choice of table affects speed only, as long as p <= 1."""
    exact, std = Fraction(variance), math.sqrt(variance)
    shift = max(0, math.floor(math.log2(std / BLOCKS_PER_STD)))
    width = 1 << shift
    blocks = max(1, math.ceil(REACH * std / width))
    # From one step of the tail to the next f falls by more than half: (2·REACH·σ·W + W²)/(2v) > ln 2 for W >= σ/4.
    tail_shift = max(0, math.ceil(math.log2(std / 4)))
    starts = [width * block for block in range(-blocks, blocks)]
    with _digits(DIGITS):
        above = Decimal(1) + Decimal(10) ** (5 - DIGITS)
        below = Decimal(1) - Decimal(10) ** (5 - DIGITS)
        near = [_density(max(start, -start - width + 1), exact) * above for start in starts]
        far = [_density(max(-start, start + width - 1), exact) * below for start in starts]
        step = 4 << (tail_shift - shift)
        edge = _density(width * blocks, exact) * above
        # Rounding up adds at most one cell a block and one for the tail.
        scale = int(((1 << CELL_BITS) - len(starts) - 1) / (sum(near) + step * edge))
        tail_height = int(scale * step * edge) + 1
        heights = [int(scale * density) + 1 for density in near]
        heights[blocks] += (1 << CELL_BITS) - tail_height - sum(heights)
        bits = WORD_BITS - CELL_BITS - shift
        certain = [
            int((scale << bits) * density * below / height) for density, height in zip(far, heights, strict=True)
        ]
    return Table(
        variance=exact,
        shift=shift,
        tail_shift=tail_shift,
        scale=scale,
        heights=np.array(heights),
        tail_height=tail_height,
        block_of=np.repeat(np.arange(len(starts) + 1, dtype=np.int16), [*heights, tail_height]),
        starts=np.array([*starts, 0]),
        certain=np.array([*certain, 0], dtype=np.uint64),
        limits=np.array([*(float(scale << bits) / height for height in heights), 0.0]),
    )


def _accepted(table: Table, randomness: Randomness, count: int) -> NDArray[np.int64]:
    """The accepted ones of `count` proposals, in order."""
    words = randomness.words(count)
    block = table.block_of.take((words >> np.uint64(WORD_BITS - CELL_BITS)).view(np.int64))
    integers = table.starts.take(block)
    if table.shift:
        integers += ((words >> np.uint64(table.bits)) & np.uint64((1 << table.shift) - 1)).view(np.int64)
    uniform = words & np.uint64((1 << table.bits) - 1)
    keep = uniform < table.certain.take(block)
    open_ = np.flatnonzero(~keep)
    if not len(open_):
        return integers
    # What follows is exact up to the density: integers stay below 2³⁶ and the bits of U below 2⁴⁸.
    drawn, place = uniform[open_].astype(np.float64), integers[open_].astype(np.float64)
    density = np.exp(-(place * place) / float(2 * table.variance))
    limit = table.limits.take(block[open_]) * density
    sure = drawn + 1 <= limit * (1 - MARGIN)
    keep[open_] = sure
    slow = ~sure & (drawn <= limit * (1 + MARGIN)) | (block[open_] == 2 * table.blocks)
    for position in open_[slow]:
        if block[position] == 2 * table.blocks:
            found = _from_tail(table, randomness)
            if found is not None:
                integers[position], keep[position] = found, True
        else:
            factor = Fraction(table.scale, int(table.heights[block[position]]))
            exponent = Fraction(int(integers[position]) ** 2) / (2 * table.variance)
            keep[position] = _below(randomness, int(uniform[position]), table.bits, factor, exponent)
    return integers[keep]


def _from_tail(table: Table, randomness: Randomness) -> int | None:
    """One proposal beyond the blocks; None if rejected."""
    word = int(randomness.words(1)[0])
    offset = word & ((1 << table.tail_shift) - 1)
    negative = bool(word >> (WORD_BITS - 1))
    step = next(number for number, tails in enumerate(_coins(randomness)) if not tails)
    distance = (table.blocks << table.shift) + (step << table.tail_shift) + offset
    integer = -1 - distance if negative else distance
    factor = Fraction(table.scale << (step + 2 + table.tail_shift - table.shift), table.tail_height)
    accepted = _below(randomness, 0, 0, factor, Fraction(integer**2) / (2 * table.variance))
    return integer if accepted else None


def _coins(randomness: Randomness) -> Iterator[int]:
    while True:
        word = int(randomness.words(1)[0])
        yield from ((word >> place) & 1 for place in range(WORD_BITS))


def _below(randomness: Randomness, uniform: int, bits: int, factor: Fraction, exponent: Fraction) -> bool:
    """Whether U < factor·exp(−exponent), for U uniform in [uniform, uniform + 1)·2^−bits.

    Ends with probability 1: each further word divides the chance of an inconclusive result by 2⁶⁴.
    """
    while True:
        # 10 digits beyond the last bit of U; exp turns an error of its exponent into a relative error of the result.
        digits = 10 + math.ceil(bits * math.log10(2))
        with _digits(digits + 3 + len(str(math.ceil(exponent)))):
            limit = _quotient(factor * (1 << bits)) * _exp(exponent)
            error = limit * Decimal(10) ** -digits
            if uniform + 1 <= limit - error:
                return True
            if uniform >= limit + error:
                return False
        uniform = (uniform << WORD_BITS) | int(randomness.words(1)[0])
        bits += WORD_BITS


def _density(integer: int, variance: Fraction) -> Decimal:
    return _exp(Fraction(integer**2) / (2 * variance))


def _exp(exponent: Fraction) -> Decimal:
    """exp(−exponent), with a relative error of at most 1 + exponent times that of one operation."""
    return (-_quotient(exponent)).exp()


def _quotient(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _digits(digits: int) -> AbstractContextManager[decimal.Context]:
    """Arithmetic in `digits` decimal digits, each operation correctly rounded, with unlimited exponents."""
    return decimal.localcontext(
        decimal.Context(prec=digits, rounding=decimal.ROUND_HALF_EVEN, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)
    )
