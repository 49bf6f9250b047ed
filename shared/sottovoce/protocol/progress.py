"""A label's progress in a run: each state carries only its own data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from sottovoce.protocol.keys import RunKey
from sottovoce.protocol.messages import Roster
from sottovoce.protocol.pair_keys import PairKeys
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.session import Session
from sottovoce.protocol.states import Phase


@dataclass(frozen=True)
class Joined:
    """Advertised, with keys and a nonce not yet revealed."""

    phase: ClassVar[Phase] = Phase.JOINED
    key: RunKey
    nonce: bytes = field(repr=False)


@dataclass(frozen=True)
class Revealed:
    """Revealed its nonce for one roster."""

    phase: ClassVar[Phase] = Phase.REVEALED
    key: RunKey
    roster: Roster


@dataclass(frozen=True)
class Keyed:
    """Made its ciphertexts, and waits for its peers'.

    Args:
        key: its own key pairs.
        session: the set-up, now that all nonces are known.
        secrets: secrets of the pairs for which it encapsulated.
        agreed: X25519 secrets of the other pairs.
    """

    phase: ClassVar[Phase] = Phase.KEYED
    key: RunKey
    session: Session
    secrets: Mapping[str, bytes] = field(repr=False)
    agreed: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class Idle:
    """In no round."""

    phase: ClassVar[Phase] = Phase.IDLE


@dataclass(frozen=True)
class Reporting:
    """Received a request for a report, not yet answered."""

    phase: ClassVar[Phase] = Phase.REPORTING
    round: Round


@dataclass(frozen=True)
class Reported:
    """Reported; holds its own share of its own self-mask."""

    phase: ClassVar[Phase] = Phase.REPORTED
    round: Round
    own: bytes = field(repr=False)


@dataclass(frozen=True)
class Checked:
    """Signed one survivor set, and refuses to unmask any other."""

    phase: ClassVar[Phase] = Phase.CHECKED
    round: Round
    own: bytes = field(repr=False)
    survivors: tuple[str, ...]


Progress = Idle | Reporting | Reported | Checked


@dataclass(frozen=True)
class Seat:
    """Set up: a member of the run, in a round or between two.

    Args:
        pairs: its keys, which include the session.
        newest_round: newest round that it accepted.
        prepared_round: round of its newest preparation.
        prepared: digest of that preparation.
        progress: progress in the round.
    """

    pairs: PairKeys
    newest_round: int
    prepared_round: int
    prepared: bytes
    progress: Progress

    @property
    def phase(self) -> Phase:
        """Phase of the conversation with the coordinator."""
        return self.progress.phase

    @property
    def session(self) -> Session:
        """The set-up."""
        return self.pairs.session


Stage = Joined | Revealed | Keyed | Seat
