"""What one round adds to the model: the masked sum's coordinates, or that it was aborted. Labels get it as bytes."""

import hashlib
from dataclasses import dataclass, field
from typing import Self

from sottovoce.protocol.ring import Ring, RingArray
from sottovoce.protocol.violations import WrongParameters

_HEADER = 8


@dataclass(frozen=True)
class RoundSum:
    """A round's part in the run's path.

    Args:
        round: its number, from 1.
        participants: how many labels were asked for a report, which the grid follows from; 0 for an aborted round.
        survivors: how many labels' vectors are in the sum; 0 for an aborted round.
        vector: the sum's coordinates in the ring, without its counters; empty for an aborted round.
    """

    round: int
    participants: int
    survivors: int
    vector: RingArray = field(repr=False)

    @classmethod
    def aborted(cls, number: int, ring: Ring) -> Self:
        """A round that brought no sum."""
        return cls(number, 0, 0, ring.zeros(0))

    @property
    def is_aborted(self) -> bool:
        """Whether the round brought no sum."""
        return self.survivors == 0

    def digest(self, ring: Ring) -> bytes:
        """SHA-256 of its bytes (32 bytes)."""
        hasher = hashlib.sha256(self.participants.to_bytes(4) + self.survivors.to_bytes(4))
        hasher.update(ring.pack(self.vector))
        return hasher.digest()

    def to_bytes(self, ring: Ring) -> bytes:
        """Participants and survivors, each as 4 bytes, big-endian; then the vector, packed as in a report."""
        return b"".join((self.participants.to_bytes(4), self.survivors.to_bytes(4), ring.pack(self.vector)))

    @classmethod
    def from_bytes(cls, number: int, data: bytes, ring: Ring, size: int) -> Self:
        """Read what `to_bytes` gave.

        Args:
            number: of the round.
            data: from another party.
            ring: of the run.
            size: coordinates of a sum.

        Raises:
            WrongParameters: it is no sum of the run.
        """
        participants, survivors = int.from_bytes(data[:4]), int.from_bytes(data[4:_HEADER])
        expected = size if survivors else 0
        if len(data) != _HEADER + expected * ring.element_bytes or not survivors <= participants:
            raise WrongParameters(f"What came as the sum of round {number} is none of the run's.")
        if bool(survivors) != bool(participants):
            raise WrongParameters(f"What came as the sum of round {number} is neither a sum nor an aborted round.")
        vector = ring.zeros(expected)
        ring.add_packed(vector, memoryview(data)[_HEADER:])
        return cls(number, participants, survivors, vector)
