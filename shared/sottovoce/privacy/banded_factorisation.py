"""Correlated noise without sampling (DP-FTRL): banded Toeplitz factorisations of the prefix sums, in whole numbers.

Training needs only the prefix sums of its gradients, A·G with A the lower triangle of ones, [T, T]. Factorise A = B·C,
release C·G + Z with independent noise Z, [T, d], and the prefix sums' error is B·Z (Denisov et al., NeurIPS 2022). Here
C is lower-triangular, Toeplitz and banded, (C·G)_t = Σ_{k < b} c_k·G_{t−k} (Choquette-Choo et al., NeurIPS 2023;
McKenna, 2024, arXiv 2405.15913): each round releases one more row, computed from the last b gradients.

*Sensitivity.* A unit that takes part in rounds at least b apart affects each row at most once: taking part in round j
changes rows j, …, j + b − 1 by c_0, …, c_{b−1} times a vector of norm at most Δ. These rows are disjoint for different
j, so at most k participations change all rows together by at most Δ·√k·‖c‖₂, for any vectors. The coefficients are
whole numbers: gradients on an integer grid stay on it, and the bound is exact.

*Adaptivity.* The gradients may depend on all earlier rows. Given these, row t changes by at most c_{t−j}·Δ, a bound
known in advance, with fresh noise: ordinary adaptive composition, with the same total for Rényi and concentrated DP.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy  # loads submodules on first use; messages that do not train need none
from numpy.typing import NDArray

from sottovoce.errors import PrivacyError

LARGEST_BITS = 30


@dataclass(frozen=True)
class BandedToeplitz:
    """The matrix C of a factorisation: c_0 on the diagonal, c_1 below it, and so on; zero from the b-th band on.

    Args:
        coefficients: c_0, …, c_{b−1}, whole numbers, c_0 >= 1. Learning depends on their ratios only; larger ones
            approximate ideal ratios better but make sums larger.
    """

    coefficients: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.coefficients or any(type(value) is not int for value in self.coefficients):
            raise PrivacyError(f"Expected coefficients={self.coefficients} to be whole numbers, at least one.")
        if self.coefficients[0] < 1:
            raise PrivacyError(f"Expected the first of coefficients={self.coefficients} >= 1.")

    @classmethod
    def optimal(cls, rounds: int, bands: int, bits: int) -> "BandedToeplitz":
        """The coefficients whose prefix sums have the smallest mean squared error at equal privacy.

        Args:
            rounds: T, of the whole training.
            bands: b, at most T and at most the smallest number of rounds between two participations of a unit.
            bits: the diagonal is 2^bits; the other coefficients are rounded to whole numbers. Up to 100 bands, 4 bits
                are within 1 to 2 % of the smallest error, and 8 within 10⁻⁴; each bit makes rows one bit wider.

        Raises:
            PrivacyError: a number is out of its range.
        """
        if not 1 <= bands <= rounds:
            raise PrivacyError(f"Expected bands={bands} in [1, rounds={rounds}].")
        if not 1 <= bits <= LARGEST_BITS:
            raise PrivacyError(f"Expected bits={bits} in [1, {LARGEST_BITS}].")
        return cls(tuple(round(float(value) * 2**bits) for value in _least_error(rounds, bands)))

    @property
    def bands(self) -> int:
        """b, the number of rounds that each gradient contributes to."""
        return len(self.coefficients)

    @property
    def column_norm(self) -> float:
        """‖c‖₂: how much a gradient of norm 1 changes all rows together."""
        return math.sqrt(self.column_norm_squared)

    @property
    def column_norm_squared(self) -> int:
        """‖c‖₂², exactly."""
        return sum(value**2 for value in self.coefficients)

    @property
    def growth(self) -> int:
        """Σ|c_k|: factor by which a row's coordinate may exceed a gradient's."""
        return sum(map(abs, self.coefficients))

    def sensitivity_squared(self, participations: int, separation: int) -> int:
        """k·‖c‖₂²: exact squared L2 sensitivity of all rows to one unit whose gradients have norm at most 1.

        Args:
            participations: k, largest number of rounds in which a unit takes part.
            separation: smallest distance between two of these rounds.

        Raises:
            PrivacyError: the separation is below the number of bands, which this proof does not cover.
        """
        if participations < 1:
            raise PrivacyError(f"Expected participations={participations} >= 1.")
        if participations > 1 and separation < self.bands:
            raise PrivacyError(
                f"A unit may take part again after {separation} rounds, but its gradient is used for {self.bands}.",
                hint="Use at most as many bands as there are rounds between two participations.",
            )
        return participations * self.column_norm_squared

    def encode(self, gradients: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """The newest row of C·G, before noise: `[d]`.

        Args:
            gradients: gradients of the rounds so far, oldest first, each `[d]`; the last b are used. The result fits
                int64 if `growth` times the largest coordinate does.

        Raises:
            PrivacyError: there is no gradient.
        """
        latest = list(reversed(gradients))[: self.bands]
        if not latest:
            raise PrivacyError("There is no gradient to encode.")
        row = np.zeros_like(latest[0])
        for coefficient, gradient in zip(self.coefficients, latest, strict=False):
            row += coefficient * gradient
        return row

    def decode(
        self, row: NDArray[np.int64] | NDArray[np.float64], earlier: Sequence[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Estimate the newest gradient from noisy rows: one step of the triangular solve, `[d]`.

        Args:
            row: the newest row of C·G + Z, `[d]`.
            earlier: this function's results of earlier rounds, oldest first; the last b − 1 are used.
        """
        rest = np.asarray(row, dtype=np.float64).copy()
        for coefficient, gradient in zip(self.coefficients[1:], reversed(earlier), strict=False):
            rest -= coefficient * gradient
        rest /= self.coefficients[0]
        return rest

    def squared_errors(self, rounds: int) -> NDArray[np.float64]:
        """Mean squared error of each prefix sum's coordinate at noise multiplier 1, `[T]`; 1, 2, …, T for one band.

        Noise multiplier 1 means noise whose variance is the squared column norm, for gradients of norm at most 1 and
        one participation. For k participations, noise multiplier z and norm Δ, multiply by k·z²·Δ².
        """
        noise = _noise_in_sums(np.asarray(self.coefficients, np.float64), rounds)
        errors: NDArray[np.float64] = float(self.column_norm_squared) * np.cumsum(noise**2)
        return errors

    def error(self, rounds: int) -> float:
        """Root mean squared error over all T prefix sums, relative to independent noise at equal privacy.

        Raises:
            PrivacyError: there are fewer rounds than bands, so no column is complete.
        """
        if rounds < self.bands:
            raise PrivacyError(f"Expected rounds={rounds} >= bands={self.bands}.")
        return math.sqrt(float(self.squared_errors(rounds).mean()) / ((rounds + 1) / 2))


def _noise_in_sums(coefficients: NDArray[np.float64], rounds: int) -> NDArray[np.float64]:
    """First column of B = A·C⁻¹, `[T]`; as a power series 1/((1 − x)·c(x))."""
    column: NDArray[np.float64] = scipy.signal.lfilter([1.0], coefficients, np.ones(rounds))
    return column


@lru_cache(maxsize=64)
def _least_error(rounds: int, bands: int) -> NDArray[np.float64]:
    """c_k/c_0 that minimise mean squared error of the prefix sums times squared column norm, `[b]`."""
    # B_i contributes to the prefix sums from i on.
    weights = np.arange(rounds, 0, -1) / rounds

    def loss(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        ratios = np.concatenate([[1.0], free])
        noise = _noise_in_sums(ratios, rounds)
        norm, error = float(ratios @ ratios), float(weights @ noise**2)
        # ∂B/∂c_k = −x^k·B/c: a series shifted by k.
        slope = scipy.signal.lfilter([1.0], ratios, noise)
        weighted = weights * noise
        pull = np.array([weighted[shift:] @ slope[: rounds - shift] for shift in range(1, bands)])
        return norm * error, 2 * free * error - 2 * norm * pull

    # The square root of A minimises the largest error without a limit on bands (Fichtenberger et al., ICML 2023).
    start = square_root(bands)[1:]
    if not len(start):
        return np.ones(1)
    found = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-10}
    )
    return np.concatenate([[1.0], found.x])


def square_root(bands: int) -> NDArray[np.float64]:
    """The first bands of the matrix whose square is A: c_k = binom(2k, k)/4^k, `[b]`.

    Fichtenberger, Henzinger & Upadhyay, "Constant Matters" (ICML 2023).
    """
    steps = np.arange(1, bands)
    root: NDArray[np.float64] = np.concatenate([[1.0], np.cumprod((2 * steps - 1) / (2 * steps))])
    return root
