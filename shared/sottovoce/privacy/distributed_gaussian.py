"""The distributed discrete Gaussian mechanism: clipped gradients become integers, which labels add noise to and sum.

After Kairouz, Liu & Steinke (ICML 2021, arXiv 2102.06387), with a unit (track, artist or label) in the role of that
paper's client: each unit's vector is clipped, rotated, scaled and rounded *by itself*, and rounded again until its norm
is within a bound that always holds. The labels sum these integers, so one unit changes a sum by a vector of bounded
norm, whatever else is in it.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.events import DiscreteGaussianSum
from sottovoce.privacy.rotation import rotate, rotate_back
from sottovoce.protocol.prg import CHUNK_BYTES, Keystream
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import RunConfiguration

FINE = 1.001
"""Growth of norms through rounding below which a grid is fine enough; a finer one would gain nothing."""
COARSE = 1.1
"""Largest growth of norms, and with them of the noise, through rounding; a coarser grid is refused."""
FINEST = 1 << 20
REACH = 14.0
"""Standard deviations of noise that a number has room for: larger noise has probability 5·10⁻⁴³."""
LEAST_CLIPS = 8
"""Room of a coordinate for a label's summed gradients, in clips, when the scale is chosen. Larger sums are cut."""
COUNT_WEIGHT = 0.1
"""What a unit adds to the count for the clip's quantile, relative to the clip: it costs 0.5 % more noise."""
_AGAIN = math.exp(-8)
"""Largest probability that a rounded vector is out of bounds and rounded again; small enough to keep the mean."""
_TRIES = 64
_LARGEST = np.float32(1 << 31)
"""Magnitude of a coordinate, on the grid, above which a vector is dropped: a clip is at most `FINEST` long."""
_TAIL_BITS = 41
"""Probability that honest labels' noise exceeds `largest_coordinate` or `longest`, each: 2 to the minus this."""
_BLOCK = 1 << 20  # numbers that are rotated and rounded together


@dataclass(frozen=True)
class DistributedDiscreteGaussian:
    """The mechanism's parameters for one run, the same for all labels and rounds.

    Args:
        parameters: coordinates of a unit's vector.
        scale: length of one clip on the integer grid.
        norm_squared: largest squared L2 norm of a unit's rounded vector, including its count.
        coefficients: weights of the rounds in a report, newest first; (1,) unless the run is banded.
        energy: squared factor by which coefficients and participations scale a unit's norm over all rounds, or 1.
        rows: rounds that are accounted for as one sum: all of them if the run is banded, otherwise 1.
        variance: variance of one label's noise on each coordinate.
        sum_bound: largest magnitude of a coordinate of a label's own sum, which is cut there before noise is added.
        quantile: quantile of norms that the clip follows, counted in an additional coordinate; or None.
    """

    parameters: int
    scale: int
    norm_squared: int
    coefficients: tuple[int, ...]
    energy: int
    rows: int
    variance: float
    sum_bound: int
    quantile: float | None

    @classmethod
    def of(cls, config: RunConfiguration, parameters: int, labels: int) -> "DistributedDiscreteGaussian":
        """The finest useful grid that fits the run's ring.

        Args:
            config: a run with distributed noise.
            parameters: P, number of model parameters.
            labels: number of labels in the federation, and so of vectors in a sum.

        Raises:
            ConfigurationError: noise is not distributed, or no sufficiently fine grid fits the ring.
        """
        distributed = config.distributed
        if distributed is None:
            raise ConfigurationError("Only a run with distributed noise has an integer grid.")
        room = ((1 << (config.ring_bits - 1)) - 1) // labels
        matrix, energy, rows = BandedToeplitz((1,)), 1, 1
        if (banded := distributed.banded) is not None:
            matrix, rows = BandedToeplitz(banded.coefficients), config.rounds
            energy = matrix.sensitivity_squared(-(-config.rounds // banded.min_separation), banded.min_separation)
        scale = FINEST
        while _growth(scale // 2, parameters) <= FINE:
            scale //= 2
        while _growth(scale, parameters) <= COARSE:
            count = max(_count_values(scale, distributed.clip_quantile), key=abs) if distributed.clip_quantile else 0
            norm_squared = math.floor(_bound_squared(scale, parameters)) + count * count
            variance = distributed.noise_multiplier**2 * norm_squared * energy / distributed.min_honest
            free = room - math.ceil(REACH * math.sqrt(variance))
            # No label alone sums more units than all labels together are expected to.
            sum_bound = min(free // matrix.growth, max(LEAST_CLIPS, config.batch_size) * scale)
            if sum_bound >= LEAST_CLIPS * scale:
                return cls(
                    parameters,
                    scale,
                    norm_squared,
                    matrix.coefficients,
                    energy,
                    rows,
                    variance,
                    sum_bound,
                    distributed.clip_quantile,
                )
            scale //= 2
        raise ConfigurationError(
            f"The sums of {labels} labels, with noise {distributed.noise_multiplier:.3g} times the clip, do not fit a "
            f"ring of {config.ring_bits} bits.",
            hint="Use a larger ring_bits (32), less noise, or fewer rounds.",
        )

    @property
    def dimension(self) -> int:
        """Numbers that a label reports: the parameters, and one count if the clip follows a quantile."""
        return self.parameters + (self.quantile is not None)

    def event(self, min_honest: int, sample_rate: float, steps: int) -> DiscreteGaussianSum:
        """The event of `steps` sums, each with noise of `min_honest` labels, for units sampled at this rate."""
        return DiscreteGaussianSum(
            sample_rate=sample_rate,
            variance=self.variance,
            norm_squared=self.norm_squared * self.energy,
            min_honest=min_honest,
            dimension=self.dimension * self.rows,
            steps=steps,
        )

    def signs(self, run: bytes, round_number: int) -> NDArray[np.float32]:
        """The public signs of a round's rotation (`sottovoce.privacy.rotation`), ±1: `[2, parameters]`.

        Privacy does not depend on them.

        Rounds whose sums are combined share one rotation, otherwise their noise would not cancel.
        """
        if len(self.coefficients) > 1:
            round_number = 0
        seed = hashlib.sha256(b"sottovoce/1/rotation\x00" + run + round_number.to_bytes(4)).digest()
        stream, drawn = Keystream(seed), np.empty(-(-2 * self.parameters // 8), np.uint8)
        for start in range(0, drawn.size, CHUNK_BYTES):
            stream.fill(drawn[start : start + CHUNK_BYTES])
        bits = np.unpackbits(drawn, count=2 * self.parameters).reshape(2, -1)
        return np.float32(1) - np.float32(2) * bits.astype(np.float32)

    def integers(
        self, vectors: NDArray[np.float32], signs: NDArray[np.float32], randomness: Randomness
    ) -> NDArray[np.int64]:
        """The sum of units' vectors on the grid: each rotated, scaled and rounded by itself.

        Args:
            vectors: `[units, parameters]`, each of L2 norm at most 1 (in clips).
            signs: signs of the rotation.
            randomness: source of randomness for rounding.

        Returns:
            `[parameters]`. For any `vectors`, one additional row changes it by a vector within the norm's bound.
        """
        total = np.zeros(self.parameters, np.int64)
        bound = _bound_squared(self.scale, self.parameters)
        rows = max(1, _BLOCK // self.parameters)
        for start in range(0, len(vectors), rows):
            block = vectors[start : start + rows]
            rotated = rotate(block, signs) * np.float32(self.scale)
            total += _rounded(rotated, bound, randomness).sum(axis=0)
        return total

    def count_of(self, norms: NDArray[np.float32], clip: float) -> int:
        """What units with these gradient norms add to the count: 0 on average if the clip is at its quantile."""
        if self.quantile is None:
            return 0
        below, above = _count_values(self.scale, self.quantile)
        within = int((norms <= clip).sum())
        return within * below + (len(norms) - within) * above

    def cut(self, total: NDArray[np.int64]) -> NDArray[np.int64]:
        """A label's sum with each coordinate cut to its bound, so that sums over all labels cannot wrap.

        Cutting never increases the difference of two sums in a coordinate, nor changes its sign.
        """
        bounded: NDArray[np.int64] = np.clip(total, -self.sum_bound, self.sum_bound)
        return bounded

    def largest_coordinate(self, survivors: int) -> float:
        """Bound on the coordinates of an honest sum, exceeded with probability at most 2^-41: sum bounds plus noise.

        Discrete Gaussian noise is sub-Gaussian with its variance (Canonne et al., NeurIPS 2020, proposition 25).
        """
        growth = BandedToeplitz(self.coefficients).growth
        tail = 2 * self.variance * survivors * (math.log(2 * self.dimension) + _TAIL_BITS * math.log(2))
        return survivors * growth * self.sum_bound + math.sqrt(tail)

    def longest(self, survivors: int) -> float:
        """Bound on the L2 norm of an honest sum of one unit per label, exceeded with probability at most 2^-41.

        The noise is a sub-Gaussian vector (Hsu, Kakade and Zhang, Electron. Commun. Probab. 17, 2012).
        """
        chance = _TAIL_BITS * math.log(2)
        squared = self.variance * survivors * (self.dimension + 2 * math.sqrt(self.dimension * chance) + 2 * chance)
        return survivors * math.sqrt(self.norm_squared) + math.sqrt(squared)

    def vector(self, total: NDArray[np.float64], signs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Decode numbers on the grid, `[parameters]`, to a sum of vectors in clips: `[parameters]`."""
        return rotate_back((total / self.scale).astype(np.float32), signs)

    def excess(self, count: int) -> float:
        """Units counted within the clip, minus the number that the quantile aims at."""
        return count / (COUNT_WEIGHT * self.scale)


def _bound_squared(scale: int, parameters: int) -> float:
    """Squared norm within which a vector of norm `scale` is rounded: the paper's proposition 22, β = `_AGAIN`."""
    root = math.sqrt(parameters)
    return min((scale + root) ** 2, scale**2 + parameters / 4 + math.sqrt(-2 * math.log(_AGAIN)) * (scale + root / 2))


def _growth(scale: int, parameters: int) -> float:
    return math.sqrt(_bound_squared(scale, parameters)) / scale if scale else math.inf


def _count_values(scale: int, quantile: float) -> tuple[int, int]:
    """What a unit within the clip adds to the count, and what one above it adds."""
    weight = COUNT_WEIGHT * scale
    return round(weight * (1 - quantile)), -round(weight * quantile)


def _rounded(rotated: NDArray[np.float32], bound: float, randomness: Randomness) -> NDArray[np.int64]:
    """Round each row `[units, n]` to integers at random, again until its squared norm is within the bound."""
    possible = np.abs(rotated) <= _LARGEST  # False for values that are not finite, too
    finite = np.where(possible, rotated, np.float32(0.0))
    floor = np.floor(finite)
    chance = (finite - floor).astype(np.float64)
    whole = floor.astype(np.int64)
    rounded = np.empty_like(whole)
    left = np.arange(len(whole))
    for _ in range(_TRIES):
        up = randomness.uniform(chance[left].size).reshape(-1, whole.shape[1]) < chance[left]
        rounded[left] = whole[left] + up
        left = left[_norms_squared(rounded[left]) > bound]
        if not left.size:
            return rounded
    # Longer than a clip, which no caller passes: round towards 0 if that fits, otherwise drop the vector.
    for row in left:
        rounded[row] = np.trunc(finite[row]).astype(np.int64)
        if _norms_squared(rounded[row]) > bound:
            rounded[row] = 0
    return rounded


def _norms_squared(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Squared norms along the last axis: exact below 2^53, and above every bound beyond, where int64 would wrap."""
    norms: NDArray[np.float64] = np.square(rows, dtype=np.float64).sum(axis=-1)
    return norms
