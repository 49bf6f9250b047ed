"""Randomness for privacy: uniform words from the operating system, and draws made from them.

For repeatable simulations, `Randomness.for_simulation(seed)` runs the same code on seeded words. Only simulation code
can ask for it: nothing in a label's files or messages can set a seed.
"""

import math
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from sottovoce.errors import PrivacyError

if TYPE_CHECKING:
    import torch

UNIFORM_BITS = 53
"""Bits of a uniform draw k·2⁻⁵³: the finest even grid on [0, 1] that float64 represents."""
GAUSSIANS_PER_DRAW = 4
CHUNK = 1 << 14  # coordinates; their words (1 MiB) stay in cache between the stages of `gaussian`
REKEY_BYTES = 1 << 30
_ZEROS = bytes(1 << 16)


class Randomness(ABC):
    """Draws for sampling and noise, all made from uniform 64-bit words.

    Gaussian draws resist the floating-point attack: which float64 values one Box–Muller draw can reach depends on the
    value it is added to (Mironov, CCS 2012), so each Gaussian here is half the sum of four independent ones (Holohan &
    Braghin, "Secure Random Sampling in Differential Privacy", ESORICS 2021), as in Opacus' secure mode. State is never
    shared: an instance cannot be copied or pickled, and notices a fork.
    """

    simulated: bool

    @staticmethod
    def system() -> "Randomness":
        """Randomness from the operating system, which every label uses."""
        return SystemRandomness()

    @staticmethod
    def for_simulation(seed: int) -> "Randomness":
        """Repeatable randomness, for simulations only: anyone who knows the seed can subtract the noise."""
        return SimulationRandomness(seed, _asked_for=_SIMULATION)

    @abstractmethod
    def words(self, count: int) -> NDArray[np.uint64]:
        """Independent, uniform 64-bit words: `[count]`."""

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Uniform on {0, 1, …, 2⁵³ − 1}·2⁻⁵³: `[count]`."""
        whole = self.words(count) >> np.uint64(64 - UNIFORM_BITS)
        return whole.astype(np.float64) * 2.0**-UNIFORM_BITS

    def bernoulli(self, rates: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Poisson sampling: each entry is True independently with its own probability, exact to 2⁻⁵³.

        Args:
            rates: probabilities, `[n]`.

        Raises:
            PrivacyError: a rate is not in [0, 1].
        """
        if not np.all((rates >= 0) & (rates <= 1)):  # also catches NaN
            raise PrivacyError("A sampling rate is not in [0, 1].")
        drawn: NDArray[np.bool_] = self.uniform(rates.size).reshape(rates.shape) < rates
        return drawn

    def integers(self, high: int | NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Whole numbers in [0, high), `[count]`, for choices that do not affect privacy, such as segments.

        Args:
            high: one bound, or one for each draw (`[count]`), each >= 1; the bias of a value is at most high·2⁻⁶⁴.
            count: number of draws.
        """
        drawn: NDArray[np.int64] = (self.words(count) % np.asarray(high).astype(np.uint64)).astype(np.int64)
        return drawn

    def permutation(self, count: int) -> NDArray[np.int64]:
        """A random order of 0, 1, …, `count` - 1: `[count]`."""
        return np.argsort(self.words(count)).astype(np.int64)

    def gaussian(self, shape: tuple[int, ...], std: float) -> "torch.Tensor":
        """Independent N(0, std²), float32, computed in float64; hardened as the class describes.

        Args:
            shape: shape of the result.
            std: standard deviation, in the units of what it is added to.

        Raises:
            PrivacyError: `std` is not a positive, finite number.
        """
        import torch

        if not (math.isfinite(std) and std > 0):
            raise PrivacyError(f"Expected std={std} > 0 and finite.")
        size = math.prod(shape)
        noise = torch.empty(size, dtype=torch.float32)
        for start in range(0, size, CHUNK):
            part = noise[start : start + CHUNK]
            words = torch.from_numpy(self.words(2 * GAUSSIANS_PER_DRAW * len(part)).view(np.int64))
            # The arithmetic shift keeps the sign; the mask restores 53 unsigned bits.
            whole = (words >> (64 - UNIFORM_BITS)) & ((1 << UNIFORM_BITS) - 1)
            pairs = whole.to(torch.float64).view(2, GAUSSIANS_PER_DRAW, len(part))
            # Box–Muller: (k + 1)·2⁻⁵³ lies in (0, 1], so the logarithm is finite.
            radius = pairs[0].add_(1).mul_(2.0**-UNIFORM_BITS).log_().mul_(-2).sqrt_()
            angle = pairs[1].mul_(2 * math.pi * 2.0**-UNIFORM_BITS)
            part.copy_(angle.cos_().mul_(radius).sum(dim=0).mul_(std / math.sqrt(GAUSSIANS_PER_DRAW)))
        return noise.view(shape)

    def torch_generator(self) -> "torch.Generator":
        """A fresh torch generator for augmentation and dropout, on which privacy does not depend."""
        import torch

        return torch.Generator().manual_seed(int(self.words(1)[0] >> np.uint64(1)))

    def __reduce__(self) -> NoReturn:
        raise PrivacyError("A source of randomness cannot be copied or sent: two copies would draw the same noise.")


class SystemRandomness(Randomness):
    """Words from an AES-256-CTR keystream under keys from `os.urandom`, replaced every GiB and after a fork."""

    simulated = False

    def __init__(self) -> None:
        self._process = -1
        self._left = 0

    def _rekey(self) -> None:
        self._keystream = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(os.urandom(16))).encryptor()
        self._process = os.getpid()
        self._left = REKEY_BYTES

    def words(self, count: int) -> NDArray[np.uint64]:
        """Independent, uniform 64-bit words: `[count]`."""
        filled = bytearray(8 * count)
        view = memoryview(filled)
        for start in range(0, len(view), len(_ZEROS)):
            if self._left < len(_ZEROS) or self._process != os.getpid():
                self._rekey()
            part = view[start : start + len(_ZEROS)]
            part[:] = self._keystream.update(_ZEROS[: len(part)])
            self._left -= len(part)
        return np.frombuffer(filled, dtype=np.uint64)


_SIMULATION = object()


class SimulationRandomness(Randomness):
    """Words from Philox under a seed; only `Randomness.for_simulation` makes one."""

    simulated = True

    def __init__(self, seed: int, *, _asked_for: object = None) -> None:
        if _asked_for is not _SIMULATION:
            raise PrivacyError("Randomness from a seed is for simulations: use Randomness.for_simulation(seed).")
        self._bits = np.random.Philox(seed)

    def words(self, count: int) -> NDArray[np.uint64]:
        """Independent, uniform 64-bit words: `[count]`."""
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)
