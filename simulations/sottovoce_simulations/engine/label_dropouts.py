"""Simulated drop-outs of labels within a round: at random, or chosen by a test."""

import hashlib
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

from sottovoce.errors import ConfigurationError


class Moment(StrEnum):
    """Moment in a round at which a label drops out; it is back for the next round."""

    BEFORE_REPORT = "before-report"
    REPORT_LOST = "report-lost"
    BEFORE_CROSS_CHECK = "before-cross-check"
    BEFORE_UNMASK = "before-unmask"


@dataclass(frozen=True)
class DropOuts:
    """Each label drops out of each round with the same probability, at a uniformly drawn moment.

    Args:
        probability: probability that one label drops out of one round, in [0, 1).
        seed: makes the draws repeatable; default: fresh from the operating system.
    """

    probability: float
    seed: int = field(default_factory=lambda: secrets.randbits(63))

    def __post_init__(self) -> None:
        if not 0 <= self.probability < 1:
            raise ConfigurationError(f"Expected drop-out probability {self.probability} in [0, 1).")

    def moment(self, label: str, round_number: int) -> Moment | None:
        """The moment at which `label` drops out of this round, or None if it stays; equal for repeated calls."""
        drawn = hashlib.sha256(f"{self.seed}/{label}/{round_number}".encode()).digest()
        if int.from_bytes(drawn[:8]) >= self.probability * 2**64:
            return None
        return list(Moment)[int.from_bytes(drawn[8:16]) % len(Moment)]
