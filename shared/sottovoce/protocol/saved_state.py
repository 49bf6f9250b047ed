"""A participant's secret state as bytes, for the label's own disk: strict, no pickle; its version is its run's.

A checksum at the end detects damage, not tampering: only the label itself can write this file.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.agreement import MOST_LABELS
from sottovoce.protocol.encoding import Blob, Body, Choice, Many, Name, Number, Reader, Record
from sottovoce.protocol.keys import RunKey
from sottovoce.protocol.message import DIGEST_BYTES, RUN, SECRET, SPOKEN, Message
from sottovoce.protocol.messages import Advert, ReportRequest, Roster, decode
from sottovoce.protocol.pair_keys import PairKeys
from sottovoce.protocol.progress import Checked, Idle, Joined, Keyed, Reported, Reporting, Revealed, Seat, Stage
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.session import Session
from sottovoce.protocol.setup_messages import MOST_CONFIG_BYTES
from sottovoce.protocol.states import Phase

M = TypeVar("M", bound=Message)
MAGIC = b"SoVs"
_EMPTY: dict[str, Any] = {
    "private_key": b"",
    "nonce": b"",
    "roster": b"",
    "session": b"",
    "members": (),
    "links": (),
    "agreed": (),
    "at": 0,
    "newest_round": 0,
    "prepared_round": 0,
    "prepared": b"",
    "request": b"",
    "own": b"",
    "survivors": (),
}


@dataclass(frozen=True, order=True)
class Link(Record):
    """A secret shared with one peer."""

    label: Annotated[str, Name()]
    secret: Annotated[bytes, SECRET] = field(repr=False)


def _listed(secrets: Mapping[str, bytes]) -> tuple[Link, ...]:
    return tuple(Link(label, secret) for label, secret in sorted(secrets.items()))


def _mapped(links: tuple[Link, ...]) -> dict[str, bytes]:
    return {link.label: link.secret for link in links}


@dataclass(frozen=True)
class Saved(Record):
    """Everything a label must remember of a run between two messages. The private parts are never printed.

    Fields that a phase does not use are empty.
    """

    run: Annotated[bytes, RUN]
    config: Annotated[bytes, Blob(most=MOST_CONFIG_BYTES)] = field(repr=False)
    advert: Annotated[Advert, Body(Advert)]
    draws: Annotated[int, Number(1)]
    phase: Annotated[Phase, Choice(Phase)]
    private_key: Annotated[bytes, Blob(most=96)] = field(repr=False)
    nonce: Annotated[bytes, Blob(most=32)] = field(repr=False)
    roster: Annotated[bytes, Blob()] = field(repr=False)
    session: Annotated[bytes, Blob(most=32)]
    members: Annotated[tuple[str, ...], Many(Name(), most=MOST_LABELS, ascending=True)] = field(repr=False)
    links: Annotated[tuple[Link, ...], Many(Body(Link), most=MOST_LABELS, ascending=True)] = field(repr=False)
    agreed: Annotated[tuple[Link, ...], Many(Body(Link), most=MOST_LABELS, ascending=True)] = field(repr=False)
    at: Annotated[int, Number(4)]
    newest_round: Annotated[int, Number(4)]
    prepared_round: Annotated[int, Number(4)]
    prepared: Annotated[bytes, Blob(most=32)]
    request: Annotated[bytes, Blob()] = field(repr=False)
    own: Annotated[bytes, Blob(most=32)] = field(repr=False)
    survivors: Annotated[tuple[str, ...], Many(Name(), most=MOST_LABELS, ascending=True)]

    @classmethod
    def of(cls, *, config: bytes, advert: Advert, draws: int, stage: Stage) -> "Saved":
        """The record of these values."""
        values = _EMPTY | {
            "run": advert.run,
            "config": config,
            "advert": advert,
            "draws": draws,
            "phase": stage.phase,
            **_values(stage),
        }
        return cls(**values)

    def stage(self, n_min: int) -> Stage:
        """The label's stage.

        Args:
            n_min: the agreement's.

        Raises:
            LocalProtocolError: the fields are inconsistent.
        """
        session = Session(self.run, self.session, self.members, n_min)
        stages: dict[Phase, Callable[[], Stage]] = {
            Phase.JOINED: lambda: Joined(RunKey.from_bytes(self.private_key), self.nonce),
            Phase.REVEALED: lambda: Revealed(RunKey.from_bytes(self.private_key), _read(self.roster, Roster)),
            Phase.KEYED: lambda: Keyed(
                RunKey.from_bytes(self.private_key), session, _mapped(self.links), _mapped(self.agreed)
            ),
            Phase.IDLE: lambda: self._seat(session, Idle()),
            Phase.REPORTING: lambda: self._seat(session, Reporting(self._round(session))),
            Phase.REPORTED: lambda: self._seat(session, Reported(self._round(session), self.own)),
            Phase.CHECKED: lambda: self._seat(session, Checked(self._round(session), self.own, self.survivors)),
        }
        if self.phase not in stages:
            raise LocalProtocolError("A label's saved state has a phase that cannot be saved.")
        return stages[self.phase]()

    def _seat(self, session: Session, progress: Idle | Reporting | Reported | Checked) -> Seat:
        pairs = PairKeys(session, self.advert.label, self.at, _mapped(self.links))
        return Seat(pairs, self.newest_round, self.prepared_round, self.prepared, progress)

    def _round(self, session: Session) -> Round:
        return Round(session, _read(self.request, ReportRequest))

    def to_bytes(self) -> bytes:
        """The only encoding."""
        parts: list[bytes | memoryview] = [MAGIC, bytes([self.advert.version])]
        self.write(parts)
        body = b"".join(parts)
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Saved":
        """Read bytes written by `to_bytes`.

        Raises:
            LocalProtocolError: the bytes are damaged or of another version.
        """
        body, checksum = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
        reader = Reader(body)
        try:
            if hashlib.sha256(body).digest() != checksum:
                raise ValueError("its checksum is wrong")
            if reader.take(len(MAGIC)) != MAGIC:
                raise ValueError("its first bytes are wrong")
            version = reader.version = reader.number(1)
            if version in SPOKEN:
                saved = cls.read(reader)
                reader.finish()
        except (ValueError, LocalProtocolError) as error:
            raise LocalProtocolError(f"A label's saved state cannot be read: {error}.") from None
        if version not in SPOKEN:
            raise LocalProtocolError(
                f"A saved state of a run has version {version}; this release reads {SPOKEN[0]} and {SPOKEN[-1]}.",
                hint="Finish the run with the version that began it, or abandon it: sottovoce label close RUN",
            )
        return saved


def _values(stage: Stage) -> dict[str, Any]:
    match stage:
        case Joined():
            return {"private_key": stage.key.private_bytes(), "nonce": stage.nonce}
        case Revealed():
            return {"private_key": stage.key.private_bytes(), "roster": stage.roster.encode()}
        case Keyed():
            return {
                "private_key": stage.key.private_bytes(),
                "session": stage.session.digest,
                "members": stage.session.members,
                "links": _listed(stage.secrets),
                "agreed": _listed(stage.agreed),
            }
    progress = stage.progress
    return {
        "session": stage.session.digest,
        "members": stage.session.members,
        "links": _listed(stage.pairs.links),
        "at": stage.pairs.at,
        "newest_round": stage.newest_round,
        "prepared_round": stage.prepared_round,
        "prepared": stage.prepared,
        "request": b"" if isinstance(progress, Idle) else progress.round.request.encode(),
        "own": progress.own if isinstance(progress, (Reported, Checked)) else b"",
        "survivors": progress.survivors if isinstance(progress, Checked) else (),
    }


def _read(data: bytes, kind: type[M]) -> M:
    message = decode(data)
    if not isinstance(message, kind):
        raise LocalProtocolError("A label's saved state holds another message than its phase needs.")
    return message
