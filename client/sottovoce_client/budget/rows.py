"""The lines of a label's ledger: each is bound to the one before it by its hash."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sottovoce.canonical import canonical_json
from sottovoce.errors import LedgerError
from sottovoce.privacy.events import Event, merged, to_json

FIRST = b"sottovoce/ledger/1"
"""What the first line is bound to."""


class Kind(StrEnum):
    """What a row says. OPEN: a run may spend up to these events. CHARGE: a round spends these. CLOSE: it is over."""

    OPEN = "open"
    CHARGE = "charge"
    CLOSE = "close"


@dataclass(frozen=True)
class Head:
    """The newest row's number (0 in an empty ledger) and hash: a ledger that was ever so long holds that row."""

    number: int
    hash: bytes


@dataclass(frozen=True)
class Row:
    """One line of the ledger: its number from 1, UTC time (ISO 8601), kind, run, round (0 unless a charge), events."""

    number: int
    time: str
    kind: Kind
    run: bytes
    round: int
    events: tuple[Event, ...]

    def hash(self, previous: bytes) -> bytes:
        """SHA-256 over the hash of the row before and this row."""
        return hashlib.sha256(
            previous
            + canonical_json(
                [
                    self.number,
                    self.time,
                    self.kind,
                    self.run.hex(),
                    self.round,
                    [to_json(event) for event in self.events],
                ]
            )
        ).digest()


def committed_by(rows: Iterable[Row]) -> tuple[Event, ...]:
    """What closed runs have charged and what open ones may still come to."""
    promised: dict[bytes, tuple[Event, ...]] = {}
    charged: dict[bytes, tuple[Event, ...]] = {}
    for row in rows:
        match row.kind:
            case Kind.OPEN:
                promised[row.run] = row.events
            case Kind.CHARGE:
                charged[row.run] = (*charged.get(row.run, ()), *row.events)
            case Kind.CLOSE:
                promised[row.run] = charged.get(row.run, ())
    return merged(event for events in promised.values() for event in events)


def events_of(rows: Iterable[Row]) -> Iterator[Event]:
    """The events of all rows, in their order."""
    for row in rows:
        yield from row.events


def as_bytes(value: object) -> bytes:
    """A column that holds bytes.

    Raises:
        LedgerError: it holds something else.
    """
    if not isinstance(value, bytes):
        raise LedgerError("A row of the ledger cannot be read, so nothing is trained.")
    return value


def tampered(number: int) -> LedgerError:
    """The error that names a row which is not bound to the one before it."""
    return LedgerError(
        f"Row {number} of the ledger is not what was written.",
        hint="Restore the ledger from a copy; until then nothing is trained.",
    )
