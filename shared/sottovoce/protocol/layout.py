"""What lies where in the vector that is summed: the update's coordinates, then the counters, then how many clipped.

One formula keeps sums from wrapping: whatever a label may put into an element takes `value_bits` bits, and
`value_bits + ⌈log2 n⌉ ≤ b`. Of distributed noise, coordinates are whole numbers of either sign, of magnitude below
`value_bits − 1` bits (`sottovoce.privacy.distributed_gaussian` sees to that); they are not rounded or clipped here.
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
"""Factor that float32's own rounding may add to a norm."""
LEAST_QUANTISER_BITS = 8  # a coarser grid adds more noise than a run can want
MOST_QUANTISER_BITS = 24  # float32 holds no finer number


@dataclass(frozen=True)
class Decoded:
    """What a sum says.

    Args:
        update: mean update, float32 `[parameters]`, its L2 norm at most the clip (and a step of rounding); None in an
            evaluate round, and where whole numbers are summed.
        integers: the sum of whole numbers, int64 `[parameters]`, where those are summed; else None.
        counters: their sums, int64 `[counters]`.
        clipped: how many survivors' updates were clipped.
    """

    update: NDArray[np.float32] | None
    integers: NDArray[np.int64] | None
    counters: NDArray[np.int64]
    clipped: int


@dataclass(frozen=True)
class VectorLayout:
    """The vector of a round, the same for all its participants.

    Args:
        parameters: coordinates of the update (or whole numbers of distributed noise); 0 in an evaluate round.
        counters: whole-number sums that ride along; each label adds 0 … 2^40 − 1 to each.
        ring_bits: b: 16, 24 or 32.
        participants: n, of the round.
        update_clip: L2 bound of a label's update, and so of the mean.
        whole: whether coordinates are whole numbers, with distributed noise in them.

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
        """The layout of one round of a run; `parameters` is how many numbers a label reports beside the counters."""
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
        """The ring that is summed in."""
        return Ring(self.ring_bits)

    @property
    def value_bits(self) -> int:
        """b − ⌈log2 n⌉: what a label may use of an element."""
        return self.ring_bits - (self.participants - 1).bit_length()

    @cached_property
    def quantiser(self) -> Quantiser:
        """The grid of a coordinate."""
        return Quantiser(min(self.value_bits, MOST_QUANTISER_BITS), reach_of(self.update_clip, max(1, self.parameters)))

    @property
    def _limb_bits(self) -> int:
        return min(self.value_bits, COUNTER_BITS)

    @property
    def _limbs(self) -> int:
        return -(-COUNTER_BITS // self._limb_bits)

    @property
    def elements(self) -> int:
        """Length of the vector: coordinates, limbs of the counters, and one for whether the update was clipped."""
        return self.parameters + self.counters * self._limbs + 1

    @property
    def longest_mean(self) -> float:
        """The largest L2 norm of a mean of honest updates: the clip, and a step of rounding in each coordinate."""
        return (self.update_clip + self.quantiser.step * math.sqrt(self.parameters)) * ROUNDING

    def encode(self, update: NDArray[np.float32] | NDArray[np.int64] | None, counters: NDArray[np.int64]) -> RingArray:
        """One label's vector. The update is clipped to `update_clip` and rounded at random onto the grid.

        Args:
            update: float32 `[parameters]`, or int64 of whole numbers; None in an evaluate round.
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
        shifts = np.arange(self._limbs) * self._limb_bits
        limbs = (counters[:, None] >> shifts) & (2**self._limb_bits - 1)
        vector[self.parameters : -1] = limbs.ravel()
        vector[-1] = clipped
        return vector

    def _write(self, coordinates: NDArray[np.float32] | NDArray[np.int64], out: RingArray) -> bool:
        """Write an update's coordinates; whether it was clipped."""
        if self.whole:
            # Modulo 2^b. Noise beyond all reason would wrap, which costs no privacy: the ring only sees the sum.
            out[:] = (coordinates & (2**self.ring_bits - 1)).astype(self.ring.dtype)
            return False  # whether a sum was cut is not covered by its noise
        update = coordinates.astype(np.float32, copy=False)
        norm = norm_of(update)
        clipped = norm > self.update_clip
        self.quantiser.quantise(update, self.update_clip / norm if clipped else 1.0, out)
        return clipped

    def decode(self, total: RingArray, survivors: int) -> Decoded:
        """What the sum of `survivors` vectors says. A mean that is longer than honest labels can make is refused.

        Args:
            total: `[elements]`, reduced.
            survivors: how many labels' vectors are in it.

        Raises:
            ImplausibleSum: no honest labels can have added up to this: a label lied, or a mask is left.
            LocalProtocolError: the vector has another length, or `survivors` is out of range.
        """
        if total.shape != (self.elements,) or not 1 <= survivors <= self.participants:
            raise LocalProtocolError(
                f"A sum of {survivors} labels' {list(total.shape)} is not one of {self.participants} labels' "
                f"[{self.elements}]."
            )
        coordinates, limbs = total[: self.parameters], total[self.parameters : -1]
        clipped = int(total[-1])
        if (
            (coordinates.size and not self.whole and int(coordinates.max()) > survivors * self.quantiser.top)
            or (limbs.size and int(limbs.max()) > survivors * (2**self._limb_bits - 1))
            or clipped > survivors
        ):
            raise ImplausibleSum("A round's sum is larger than its labels can have made it.")
        places = [int(limb) << (index % self._limbs * self._limb_bits) for index, limb in enumerate(limbs)]
        sums = [sum(places[start : start + self._limbs]) for start in range(0, len(places), self._limbs)]
        if any(value >= survivors << COUNTER_BITS for value in sums):
            raise ImplausibleSum("A round's counter is larger than its labels can have made it.")
        update, integers = None, None
        if self.whole:
            half = 1 << (self.ring_bits - 1)
            integers = ((coordinates.astype(np.int64) + half) & (2**self.ring_bits - 1)) - half
        elif self.parameters:
            update = self.quantiser.mean(coordinates, survivors)
            norm = norm_of(update)
            if norm > self.longest_mean:
                raise ImplausibleSum(
                    f"A round's mean update is {norm:.3g} long, and honest labels make none beyond "
                    f"{self.longest_mean:.3g}: some label lied."
                )
        return Decoded(update, integers, np.array(sums, np.int64), clipped)
