"""Labels that vanish in the middle of a round, for simulations: at random, or as a test says."""

import hashlib
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

from sottovoce.errors import ConfigurationError


class Moment(StrEnum):
    """Where in a round a label vanishes; it is back for the next one."""

    BEFORE_REPORT = "before-report"
    REPORT_LOST = "report-lost"
    BEFORE_CROSS_CHECK = "before-cross-check"
    BEFORE_UNMASK = "before-unmask"


@dataclass(frozen=True)
class DropOuts:
    """Each label vanishes in each round with the same probability, at a moment drawn uniformly.

    Args:
        probability: of one label vanishing in one round, in [0, 1).
        seed: draws are repeatable by it; fresh from the operating system when not given.
    """

    probability: float
    seed: int = field(default_factory=lambda: secrets.randbits(63))

    def __post_init__(self) -> None:
        if not 0 <= self.probability < 1:
            raise ConfigurationError(f"Expected drop-out probability {self.probability} in [0, 1).")

    def moment(self, label: str, round_number: int) -> Moment | None:
        """When `label` vanishes in this round, or None if it stays. The same answer each time it is asked."""
        drawn = hashlib.sha256(f"{self.seed}/{label}/{round_number}".encode()).digest()
        if int.from_bytes(drawn[:8]) >= self.probability * 2**64:
            return None
        return list(Moment)[int.from_bytes(drawn[8:16]) % len(Moment)]
