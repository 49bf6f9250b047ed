"""State that every answer of a label needs: its home with keys, agreement, policy and run states, opened once."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.files import clear_asides
from sottovoce_client.home.confirmations import confirmed_by
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.run_state import RunStates


class TooFewConfirmed(LocalProtocolError):
    """Too few of the other labels in a run or round are confirmed."""


@dataclass(frozen=True)
class OpenedHome:
    """A label's home, read and ready for answering messages.

    Args:
        home: the label's folder.
        identity: the label's signing key.
        agreement: the agreement that the label has accepted.
        policy: the label's policy.
        states: the label's unfinished runs.
        confirmed: the other members that the label counts as real.
    """

    home: LabelHome
    identity: Identity = field(repr=False)
    agreement: Agreement
    policy: Policy
    states: RunStates = field(repr=False)
    confirmed: frozenset[str]

    @classmethod
    def of(cls, home: LabelHome) -> "OpenedHome":
        """Read a home.

        Raises:
            ConfigurationError: something in it is missing or damaged.
        """
        identity, agreement = home.identity(), home.agreement()
        policy = Policy.from_toml(home.policy_file)
        confirmed = frozenset(confirmed_by(home, agreement))
        clear_asides(home.runs)
        states = RunStates(home.runs, identity, agreement, policy.least_participants)
        return cls(home, identity, agreement, policy, states, confirmed)

    def knows_enough_of(self, participants: Iterable[str]) -> bool:
        """Whether enough participants are confirmed for the policy, not counting this label."""
        names = set(participants)
        return len(names & self.confirmed) >= self.policy.confirmed_of(len(names))

    @contextmanager
    def timed(self, run: bytes, round_number: int, stage: str) -> Iterator[None]:
        """Write the duration of a stage, in seconds, to a file in the home; timings are never sent.

        Args:
            run: the run.
            round_number: the round; 0 for the set-up.
            stage: what is measured.
        """
        started = time.perf_counter()
        yield
        line = {"run": run.hex(), "round": round_number, "stage": stage}
        with self.home.timings_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, "seconds": time.perf_counter() - started}) + "\n")
