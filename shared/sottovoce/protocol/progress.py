"""How far a label has come in a round: each state carries only its own data."""

from dataclasses import dataclass, field
from typing import ClassVar

from sottovoce.protocol.round_context import Round
from sottovoce.protocol.states import Phase


@dataclass(frozen=True)
class Idle:
    """Joined, and in no round."""

    phase: ClassVar[Phase] = Phase.IDLE


@dataclass(frozen=True)
class Reporting:
    """Asked for a report, and not yet answered."""

    phase: ClassVar[Phase] = Phase.REPORTING
    round: Round


@dataclass(frozen=True)
class Reported:
    """Reported; holds its own shares of its own masks."""

    phase: ClassVar[Phase] = Phase.REPORTED
    round: Round
    own: bytes = field(repr=False)


@dataclass(frozen=True)
class Checked:
    """Signed one survivor set, and will unmask no other."""

    phase: ClassVar[Phase] = Phase.CHECKED
    round: Round
    own: bytes = field(repr=False)
    survivors: tuple[str, ...]


Progress = Idle | Reporting | Reported | Checked
