"""One round's contribution to the model, as labels receive it: the masked sum's coordinates, or that it was aborted."""

import hashlib
from dataclasses import dataclass, field
from typing import Self

from sottovoce.protocol.encoding import Bytes
from sottovoce.protocol.ring import Ring, RingArray
from sottovoce.protocol.violations import WrongParameters

_HEADER = 8


@dataclass(frozen=True)
class RoundSum:
    """A round's contribution to the model.

    Args:
        round: the round's number, from 1.
        participants: number of labels asked for a report, which determines the grid; 0 for an aborted round.
        survivors: number of labels in the sum; 0 for an aborted round.
        vector: the sum's coordinates in the ring, without its counters; empty for an aborted round.
    """

    round: int
    participants: int
    survivors: int
    vector: RingArray = field(repr=False)

    @classmethod
    def aborted(cls, number: int, ring: Ring) -> Self:
        """A round without a sum."""
        return cls(number, 0, 0, ring.zeros(0))

    @property
    def is_aborted(self) -> bool:
        """Whether the round has no sum."""
        return self.survivors == 0

    def digest(self, ring: Ring) -> bytes:
        """SHA-256 of `to_bytes` (32 bytes)."""
        hasher = hashlib.sha256(self.participants.to_bytes(4) + self.survivors.to_bytes(4))
        hasher.update(ring.pack(self.vector))
        return hasher.digest()

    def to_bytes(self, ring: Ring) -> bytes:
        """Participants and survivors, each as 4 bytes, big-endian; then the vector, packed as in a report."""
        return b"".join((self.participants.to_bytes(4), self.survivors.to_bytes(4), ring.pack(self.vector)))

    @classmethod
    def from_bytes(cls, number: int, data: Bytes, ring: Ring, size: int) -> Self:
        """Read a round from `to_bytes`.

        Args:
            number: the round's number.
            data: bytes from another party.
            ring: the run's ring.
            size: number of coordinates of a sum.

        Raises:
            WrongParameters: the bytes are not a sum of the run.
        """
        participants, survivors = int.from_bytes(data[:4]), int.from_bytes(data[4:_HEADER])
        expected = size if survivors else 0
        if len(data) != _HEADER + expected * ring.element_bytes or not survivors <= participants:
            raise WrongParameters(f"The sum of round {number} does not have the run's form.")
        if bool(survivors) != bool(participants):
            raise WrongParameters(f"The sum of round {number} is neither a sum nor an aborted round.")
        return cls(number, participants, survivors, ring.unpack(memoryview(data)[_HEADER:]))
