"""Layout of the vector that is summed: the update's coordinates, then the counters, then the number of clipped updates.

One formula prevents sums from wrapping: a label's value of an element has `value_bits` bits, and `value_bits + ⌈log2 n⌉
≤ b`. With distributed noise, coordinates are signed whole numbers of magnitude below `value_bits − 1` bits (ensured by
`sottovoce.privacy.distributed_gaussian`); they are not rounded or clipped here.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError, LocalProtocolError
from sottovoce.protocol.messages import Kind
from sottovoce.protocol.quantise import Quantiser, norm_of, reach_of
from sottovoce.protocol.ring import Ring, RingArray
from sottovoce.protocol.violations import ImplausibleSum
from sottovoce.run.configuration import RunConfiguration

COUNTER_BITS = 40
ROUNDING = 1 + 1e-6
"""Factor by which float32 rounding may increase a norm."""
LEAST_QUANTISER_BITS = 8  # a coarser grid adds too much noise
MOST_QUANTISER_BITS = 24  # float32 has no finer resolution


@dataclass(frozen=True)
class Decoded:
    """A decoded sum.

    Args:
        update: mean update, float32 `[parameters]`, its L2 norm at most the clip plus one step of rounding; None in an
            evaluate round, and where whole numbers are summed.
        integers: the sum of whole numbers, int64 `[parameters]`, where those are summed; otherwise None.
        counters: their sums, int64 `[counters]`.
        clipped: number of survivors whose updates were clipped.
    """

    update: NDArray[np.float32] | None
    integers: NDArray[np.int64] | None
    counters: NDArray[np.int64]
    clipped: int


@dataclass(frozen=True)
class VectorLayout:
    """Layout of a round's vector, the same for all its participants.

    Args:
        parameters: number of coordinates of the update (or whole numbers of distributed noise); 0 in an evaluate round.
        counters: number of whole-number sums sent along; each label adds 0 … 2^40 − 1 to each.
        ring_bits: b: 16, 24 or 32.
        participants: n, number of the round's participants.
        update_clip: L2 bound of a label's update, and therefore of the mean.
        whole: whether coordinates are whole numbers that include distributed noise.

    Raises:
        ConfigurationError: a sum of n labels could wrap, or the grid would be coarser than 8 bits.
    """

    parameters: int
    counters: int
    ring_bits: int
    participants: int
    update_clip: float
    whole: bool = False

    def __post_init__(self) -> None:
        Ring(self.ring_bits)
        if self.parameters < 0 or self.counters < 0 or self.participants < 1:
            raise ConfigurationError(
                f"Expected parameters={self.parameters} >= 0, counters={self.counters} >= 0 "
                f"and participants={self.participants} >= 1."
            )
        if not (math.isfinite(self.update_clip) and self.update_clip > 0):
            raise ConfigurationError(f"Expected update_clip={self.update_clip} > 0 and finite.")
        if self.value_bits < LEAST_QUANTISER_BITS:
            raise ConfigurationError(
                f"A ring of {self.ring_bits} bits leaves {self.value_bits} for each number when {self.participants} "
                f"labels are summed; {LEAST_QUANTISER_BITS} are needed.",
                hint="Use a larger ring_bits (24 or 32).",
            )

    @classmethod
    def for_round(
        cls, config: RunConfiguration, kind: Kind, parameters: int, counters: int, participants: int
    ) -> "VectorLayout":
        """The layout of one round; `parameters` is how many numbers a label reports besides the counters."""
        return cls(
            parameters=parameters if kind is Kind.TRAIN else 0,
            counters=counters,
            ring_bits=config.ring_bits,
            participants=participants,
            update_clip=config.update_clip,
            whole=config.distributed is not None,
        )

    @cached_property
    def ring(self) -> Ring:
        """The ring in which vectors are summed."""
        return Ring(self.ring_bits)

    @property
    def value_bits(self) -> int:
        """b − ⌈log2 n⌉: bits of an element that a label may use."""
        return self.ring_bits - (self.participants - 1).bit_length()

    @cached_property
    def quantiser(self) -> Quantiser:
        """The grid of coordinates."""
        return Quantiser(min(self.value_bits, MOST_QUANTISER_BITS), reach_of(self.update_clip, max(1, self.parameters)))

    @property
    def _limbs(self) -> int:
        return -(-COUNTER_BITS // self.value_bits)

    @property
    def elements(self) -> int:
        """Length of the vector: coordinates, limbs of the counters, and one element that counts clipped updates."""
        return self.parameters + self.counters * self._limbs + 1

    @property
    def longest_mean(self) -> float:
        """Largest L2 norm of a mean of honest updates: the clip, plus one step of rounding in each coordinate."""
        return (self.update_clip + self.quantiser.step * math.sqrt(self.parameters)) * ROUNDING

    def encode(self, update: NDArray[np.float32] | NDArray[np.int64] | None, counters: NDArray[np.int64]) -> RingArray:
        """One label's vector. The update is clipped to `update_clip` and stochastically rounded onto the grid.

        Args:
            update: float32 `[parameters]`, or int64 for whole numbers; None in an evaluate round.
            counters: int64 `[counters]`, each 0 … 2^40 − 1.

        Returns:
            `[elements]`, uint16 or uint32.

        Raises:
            LocalProtocolError: a shape, a type or a counter is wrong, or the update is not finite.
        """
        wanted = np.dtype(np.int64 if self.whole else np.float32)
        coordinates = np.empty(0, wanted) if update is None else update
        if coordinates.shape != (self.parameters,) or coordinates.dtype != wanted:
            raise LocalProtocolError(
                f"An update is {coordinates.dtype}{list(coordinates.shape)} instead of {wanted}[{self.parameters}]."
            )
        if counters.shape != (self.counters,) or counters.dtype != np.int64:
            raise LocalProtocolError(
                f"Counters are {counters.dtype}{list(counters.shape)} instead of int64[{self.counters}]."
            )
        if counters.size and not 0 <= counters.min() <= counters.max() < 2**COUNTER_BITS:
            raise LocalProtocolError(f"A counter is not in 0 to 2^{COUNTER_BITS} - 1.")
        vector = np.empty(self.elements, self.ring.dtype)
        clipped = self._write(coordinates, vector[: self.parameters])
        shifts = np.arange(self._limbs) * self.value_bits
        limbs = (counters[:, None] >> shifts) & (2**self.value_bits - 1)
        vector[self.parameters : -1] = limbs.ravel()
        vector[-1] = clipped
        return vector

    def _write(self, coordinates: NDArray[np.float32] | NDArray[np.int64], out: RingArray) -> bool:
        """Write an update's coordinates; return whether it was clipped."""
        if self.whole:
            # Modulo 2^b. Absurdly large noise would wrap, which costs no privacy: the ring only sees the sum.
            out[:] = (coordinates & (2**self.ring_bits - 1)).astype(self.ring.dtype)
            return False  # the noise does not cover whether a sum was cut
        update = np.asarray(coordinates, np.float32)
        norm = norm_of(update)
        clipped = norm > self.update_clip
        self.quantiser.quantise(update, self.update_clip / norm if clipped else 1.0, out)
        return clipped

    def decode(self, total: RingArray, survivors: int) -> Decoded:
        """Decode the sum of `survivors` vectors. A mean longer than honest labels can produce is refused.

        Args:
            total: `[elements]`, reduced.
            survivors: number of labels whose vectors are in it.

        Raises:
            ImplausibleSum: honest labels cannot have produced this sum: a label lied, or a mask remains.
            LocalProtocolError: the vector has another length, or `survivors` is out of range.
        """
        if total.shape != (self.elements,) or not 1 <= survivors <= self.participants:
            raise LocalProtocolError(
                f"A sum of {survivors} labels has shape {list(total.shape)}; expected 1 to {self.participants} labels "
                f"and [{self.elements}]."
            )
        coordinates, limbs = total[: self.parameters], total[self.parameters : -1]
        clipped = int(total[-1])
        if (limbs.size and int(limbs.max()) > survivors * (2**self.value_bits - 1)) or clipped > survivors:
            raise ImplausibleSum("A round's sum is larger than its labels can produce.")
        places = [int(limb) << (index % self._limbs * self.value_bits) for index, limb in enumerate(limbs)]
        sums = [sum(places[start : start + self._limbs]) for start in range(0, len(places), self._limbs)]
        if any(value >= survivors << COUNTER_BITS for value in sums):
            raise ImplausibleSum("A round's counter is larger than its labels can produce.")
        counters = np.array(sums, np.int64)
        if self.whole:
            return Decoded(None, self.integers(coordinates), counters, clipped)
        return Decoded(self.mean(coordinates, survivors) if self.parameters else None, None, counters, clipped)

    def integers(self, coordinates: RingArray) -> NDArray[np.int64]:
        """The signed integers that a reduced sum's coordinates `[parameters]` encode."""
        half = 1 << (self.ring_bits - 1)
        numbers: NDArray[np.int64] = (coordinates.astype(np.int64) ^ half) - half
        return numbers

    def mean(self, coordinates: RingArray, survivors: int) -> NDArray[np.float32]:
        """The mean update that a sum's coordinates `[parameters]` encode, with identical bits on every machine.

        Args:
            coordinates: `[parameters]`, reduced.
            survivors: number of labels in the sum.

        Raises:
            ImplausibleSum: its norm exceeds what honest labels can produce.
        """
        if int(coordinates.max()) > survivors * self.quantiser.top:
            raise ImplausibleSum("A round's sum is larger than its labels can produce.")
        update = self.quantiser.mean(coordinates, survivors)
        norm = norm_of(update)
        if norm > self.longest_mean:
            raise ImplausibleSum(
                f"A round's mean update has norm {norm:.3g}, but honest labels cannot exceed "
                f"{self.longest_mean:.3g}: some label lied."
            )
        return update
