"""The history of a run, round by round, with what the coordinator may know."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sottovoce.federation.refusals import RefusalReason


@dataclass(frozen=True)
class RoundRecord:
    """One round.

    Args:
        number: counted from 1.
        participants: labels that were asked.
        survivors: labels whose updates are in the sum; empty if the round was aborted.
        clipped: number of survivors whose updates exceeded the clip.
        bytes_up: mean number of bytes that a survivor sent in all exchanges of the round.
        seconds: wall time of the round at the coordinator.
        aborted: why the round ended without a sum, or None.
        liars: labels that had provably lied by the end of this round.
        disputes: pairs of labels of which one lied; it is unknown which.
        unfollowed: labels that refused the round, because its model does not follow from the sums that they received.
    """

    number: int
    participants: tuple[str, ...]
    survivors: tuple[str, ...]
    clipped: int
    bytes_up: float
    seconds: float
    aborted: str | None = None
    liars: tuple[str, ...] = ()
    disputes: tuple[tuple[str, str], ...] = ()
    unfollowed: tuple[str, ...] = ()

    @property
    def dropped(self) -> int:
        """Participants that are not in the sum."""
        return len(self.participants) - len(self.survivors)


@dataclass(frozen=True)
class Promise:
    """The (ε, δ) ceiling for a label's tracks in this run, as stated in its signed advert."""

    label: str
    epsilon: float
    delta: float


@dataclass
class RunHistory:
    """History of a run: rounds, figures of each round's model on held-out tracks, (ε, δ) of the labels, and refusals.

    `left_out` names labels that are no longer asked, with the proof that they lied or the people's reason. `protocol`
    is the version of the protocol, 0 before the set-up; `behind` names labels that do not speak the newest.
    """

    rounds: list[RoundRecord] = field(default_factory=list)
    metrics: dict[int, Mapping[str, object]] = field(default_factory=dict)
    promises: tuple[Promise, ...] = ()
    refusals: dict[str, RefusalReason] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    protocol: int = 0
    behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """Result of a finished run: its id (16 bytes), the global parameters (float32 [P]) and its history."""

    run: bytes
    parameters: NDArray[np.float32]
    history: RunHistory
