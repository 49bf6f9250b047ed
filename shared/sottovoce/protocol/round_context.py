"""What all participants derive from a round's request: order of shares, checks of survivor sets."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from sottovoce.protocol.encoding import Bytes, Many, Name
from sottovoce.protocol.messages import ReportRequest
from sottovoce.protocol.session import Session
from sottovoce.protocol.topology import Topology
from sottovoce.protocol.violations import TooFewSurvivors, WrongRound, WrongRun, WrongSurvivors


@dataclass(frozen=True)
class Round:
    """One round, as its request describes it.

    Args:
        session: the run's set-up.
        request: the request sent to every participant.
    """

    session: Session
    request: ReportRequest

    @cached_property
    def participants(self) -> tuple[str, ...]:
        """Labels, in ascending order."""
        return tuple(prepared.label for prepared in self.request.participants)

    @property
    def topology(self) -> Topology:
        """The run's topology."""
        return self.session.topology

    def partners(self, label: str) -> tuple[str, ...]:
        """Participants against whom a participant masks, in ascending order."""
        present = self._present
        return tuple(partner for partner in self.topology.partners(label) if partner in present)

    @cached_property
    def _present(self) -> frozenset[str]:
        return frozenset(self.participants)

    def survivors_digest(self, survivors: tuple[str, ...]) -> bytes:
        """What survivors sign: SHA-256 over the request's digest (hence all its content) and the survivor set."""
        parts: list[Bytes] = []
        Many(Name(), most=len(survivors)).write(survivors, parts)
        return hashlib.sha256(b"".join([b"sottovoce/2/survivors\x00", self.request.digest, *parts])).digest()

    def check_survivors(self, survivors: tuple[str, ...], *, including: str, least: int = 0) -> None:
        """Refuse a survivor set that is invalid for this round.

        Args:
            survivors: the set.
            including: the label that is asked.
            least: survivors that the label's own policy requires.

        Raises:
            WrongSurvivors: it names a label that does not take part, or leaves out `including`.
            TooFewSurvivors: it is below the threshold, the agreement's n_min or `least`.
        """
        if not frozenset(survivors) <= self._present:
            raise WrongSurvivors(f"The survivors of round {self.request.round} name a label that takes no part in it.")
        if including not in survivors:
            raise WrongSurvivors(f"The survivors of round {self.request.round} leave out '{including}', the recipient.")
        needed = max(self.session.least_survivors, least)
        if len(survivors) < needed:
            raise TooFewSurvivors(
                f"Round {self.request.round} names {len(survivors)} survivors of {len(self.session.members)} labels; "
                f"{needed} are needed."
            )

    def check_answers(self, run: bytes, number: int) -> None:
        """Refuse a message that does not belong to this round.

        Raises:
            WrongRun: it belongs to another run.
            WrongRound: it belongs to another round of this run.
        """
        if run != self.request.run:
            raise WrongRun("A message belongs to another run.")
        if number != self.request.round:
            raise WrongRound(f"A message belongs to round {number}, while round {self.request.round} is under way.")
