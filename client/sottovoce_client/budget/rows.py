"""Rows of a label's ledger, chained by their hashes."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sottovoce.canonical import canonical_json
from sottovoce.errors import LedgerError
from sottovoce.privacy.events import Event, merged, to_json

FIRST = b"sottovoce/ledger/1"
"""Predecessor hash of the first row."""


THE_REST = 0
"""Round of the charge for all that a run might still have spent."""


class Kind(StrEnum):
    """Kind of a row. OPEN: a run may spend up to these events. CHARGE: a round spends these. CLOSE: the run ends."""

    OPEN = "open"
    CHARGE = "charge"
    CLOSE = "close"


@dataclass(frozen=True)
class Head:
    """Number (0 in an empty ledger) and hash of the newest row; every later state of the ledger contains that row."""

    number: int
    hash: bytes

    def to_json(self) -> list[int | str]:
        """The head as plain JSON: number and hash (hex)."""
        return [self.number, self.hash.hex()]


@dataclass(frozen=True)
class Row:
    """A row of the ledger: its number from 1, UTC time (ISO 8601), kind, run, round (0 unless a charge), events."""

    number: int
    time: str
    kind: Kind
    run: bytes
    round: int
    events: tuple[Event, ...]

    def hash(self, previous: bytes) -> bytes:
        """SHA-256 over the previous row's hash and this row."""
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
    """Events that closed runs have charged, and that open ones may still charge."""
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
    """The events of all rows, in order."""
    for row in rows:
        yield from row.events


def as_bytes(value: object) -> bytes:
    """The value of a column, which must be bytes.

    Raises:
        LedgerError: it is something else.
    """
    if not isinstance(value, bytes):
        raise LedgerError("A row of the ledger cannot be read, so training does not start.")
    return value


def tampered(number: int) -> LedgerError:
    """The error for a row whose hash does not match it and its predecessor."""
    return LedgerError(
        f"Row {number} of the ledger was altered.",
        hint="Restore the ledger from a copy; until then, training does not start.",
    )
