"""The ledger of a label's spent privacy: an SQLite file in its home, append-only, hash-chained, failing closed.

A run is opened with its whole plan, which must fit under the ceilings together with everything spent or reserved by
other runs. Each round is charged before it trains. A charge is never returned; closing a run only frees what it never
charged.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sottovoce.canonical import canonical_json
from sottovoce.errors import AlreadyCharged, BudgetExceeded, LedgerError
from sottovoce.privacy.events import Event, NonPrivate, from_json, merged, remaining, to_json, within
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce_client.budget.ledger_errors import named_errors
from sottovoce_client.budget.rows import FIRST, THE_REST, Head, Kind, Row, as_bytes, committed_by, events_of, tampered
from sottovoce_client.home.new_database import new_database

_SCHEMA = (
    """CREATE TABLE ledger (number INTEGER PRIMARY KEY, time TEXT NOT NULL, kind TEXT NOT NULL, run TEXT NOT NULL,
    round INTEGER NOT NULL, events TEXT NOT NULL, hash BLOB NOT NULL, UNIQUE (run, kind, round))""",
    """CREATE TRIGGER only_at_the_end BEFORE INSERT ON ledger
    WHEN NEW.number IS NOT (SELECT 1 + ifnull(max(number), 0) FROM ledger)
    BEGIN SELECT RAISE(ABORT, 'the ledger only grows at its end'); END""",
    """CREATE TRIGGER no_update BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
    """CREATE TRIGGER no_delete BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END""",
)
VERSION = 1
"""Version of the file, as SQLite's `user_version`; the first ledgers have 0 there. A new kind of event needs none: a
ledger with an event that this version has no accounting for is refused as a whole."""
_PATIENCE = 10.0
"""Seconds to wait for another process that writes."""
_TAIL = 256
"""Number of last rows that are checked whenever a ledger is opened. Every row that is read is checked as well."""


@dataclass(frozen=True)
class Ceilings:
    """Limits of what a label's tracks may spend.

    Args:
        epsilon_per_run: largest ε of one run.
        epsilon_lifetime: largest ε of all runs together, at `delta`.
        delta: largest δ of a run, and the δ of the lifetime's ε.
        allow_non_private: whether runs without privacy are allowed; they make the lifetime's ε infinite.
    """

    epsilon_per_run: float
    epsilon_lifetime: float
    delta: float
    allow_non_private: bool = False


class Ledger:
    """A label's ledger, open. Use it as a context manager, or `close` it.

    Each row that is read is checked against the one before it, so that an altered row never enters a sum;
    `verify` checks all of them. The cost of opening and charging does not grow with the ledger.

    Args:
        path: a ledger made by `create`. A missing one is an error: a label that lost its ledger has spent an unknown
            amount, not nothing.
        patience: seconds to wait while another process writes.

    Raises:
        LedgerError: it is missing, unreadable, readable by others, damaged or was tampered with.
        UnknownPrivacyEvent: it contains an event that the accountant cannot interpret, perhaps of a newer version.
    """

    def __init__(self, path: Path, *, patience: float = _PATIENCE) -> None:
        with named_errors():
            if path.stat().st_mode & 0o077:
                raise LedgerError("The ledger can be read by others.", hint=f"chmod 600 {path.name}")
            self._database = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=patience, isolation_level=None
            )
        try:
            with named_errors():
                # EXTRA also flushes the folder when the journal is removed, so that a power cut cannot undo a commit.
                self._database.execute("PRAGMA synchronous = EXTRA")
                (version,) = self._database.execute("PRAGMA user_version").fetchone()
                if not 0 <= version <= VERSION:
                    raise LedgerError(
                        f"The ledger has version {version}; this release reads versions up to {VERSION}.",
                        hint="Use the release that wrote it, or a newer one.",
                    )
                found = self._database.execute(
                    "SELECT sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%'"
                )
                if {sql for (sql,) in found} != set(_SCHEMA):
                    raise LedgerError("The file is not a ledger, or its safeguards were removed.")
            with self._transaction("BEGIN"):
                self._read("WHERE row.number > ?", self.head.number - _TAIL)
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def create(cls, path: Path) -> "Ledger":
        """Create an empty ledger, readable by the owner only.

        Raises:
            LedgerError: the file exists (and is left untouched), or it cannot be written.
        """
        with named_errors():
            new_database(path, _SCHEMA, VERSION)
        return cls(path)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open_run(self, run: bytes, plan: PrivacyPlan | None, ceilings: Ceilings) -> None:
        """Reserve a run's whole plan. Opening it again with the same plan, for example after a restart, is allowed.

        Args:
            run: the run's id.
            plan: how it trains, or None for a run without privacy.
            ceilings: limits of the label's policy.

        Raises:
            BudgetExceeded: the plan, alone or with everything spent and reserved, would exceed a ceiling.
            LedgerError: the run is closed or was opened with another plan, or the ledger cannot be written.
        """
        planned = merged(plan.whole_run if plan else (NonPrivate(),))
        _check_alone(plan, ceilings)
        while True:
            with self._transaction("BEGIN"):
                head, rows = self.head, self.rows()
            if self._is_open(run, planned):
                return
            # Composing takes long; the ledger stays unlocked, so that another process can charge meanwhile.
            if plan:
                _check_together((*committed_by(rows), *planned), ceilings)
            with self._transaction():
                if self.head == head:
                    self._append(Kind.OPEN, run, 0, planned)
                    return

    def _is_open(self, run: bytes, planned: tuple[Event, ...]) -> bool:
        """Whether a run was opened with this plan.

        Raises:
            LedgerError: it was opened with another plan, or is closed.
        """
        mine = self._read("WHERE row.run = ?", run.hex())
        if not mine:
            return False
        if mine[-1].kind is Kind.CLOSE:
            raise LedgerError("This run is closed and cannot be opened again.")
        if mine[0].events != planned:
            raise LedgerError(
                "This run was opened with another plan.",
                hint="Its catalogue or configuration has changed since: start a new run.",
            )
        return True

    def charge(self, run: bytes, round_number: int, events: Iterable[Event]) -> None:
        """Record what a round spends; when this returns, the charge is on disk and the round may train.

        Raises:
            AlreadyCharged: this round of this run has been charged before.
            BudgetExceeded: the charge exceeds the run's plan.
            LedgerError: the run is not open, or the ledger cannot be written.
        """
        charged = merged(events)
        with self._transaction():
            rows = self._read("WHERE row.run = ?", run.hex())
            if not rows or rows[-1].kind is Kind.CLOSE:
                raise LedgerError("Only an open run can be charged.")
            planned, *charges = rows
            if any(row.round == round_number for row in charges):
                raise AlreadyCharged(f"Round {round_number} of this run has been charged before.")
            if not within((*events_of(charges), *charged), planned.events):
                raise BudgetExceeded("The round would spend more than the run's plan allows.")
            self._append(Kind.CHARGE, run, round_number, charged)

    def spend_rest(self, run: bytes) -> None:
        """Charge all that an open run may still spend, and close it: its later charges are unknown.

        Raises:
            LedgerError: the run is not open, or the ledger cannot be written.
        """
        with self._transaction():
            rows = self._read("WHERE row.run = ?", run.hex())
            if not rows or rows[-1].kind is Kind.CLOSE:
                raise LedgerError("Only an open run can be closed.")
            planned, *charges = rows
            if rest := remaining(planned.events, events_of(charges)):
                self._append(Kind.CHARGE, run, THE_REST, rest)
            self._append(Kind.CLOSE, run, 0, ())

    def close_run(self, run: bytes) -> None:
        """Close an open run: the ε that it never charged is released, its charges remain.

        Raises:
            LedgerError: the run is not open, or the ledger cannot be written.
        """
        with self._transaction():
            kinds = [row.kind for row in self._read("WHERE row.run = ?", run.hex())]
            if not kinds or kinds[-1] is Kind.CLOSE:
                raise LedgerError("Only an open run can be closed.")
            self._append(Kind.CLOSE, run, 0, ())

    def __contains__(self, run: object) -> bool:
        return isinstance(run, bytes) and bool(self._read("WHERE row.run = ?", run.hex()))

    def place_of(self, run: bytes) -> int:
        """Which of all runs ever opened this one is, from 1."""
        (opened,) = (row.number for row in self._read("WHERE row.run = ?", run.hex()) if row.kind is Kind.OPEN)
        with named_errors():
            earlier = "SELECT count(*) FROM ledger WHERE kind = 'open' AND number <= ?"
            place: int = self._database.execute(earlier, (opened,)).fetchone()[0]
        return place

    def is_open(self, run: bytes) -> bool:
        """Whether a run was opened, and is not closed."""
        kinds = [row.kind for row in self._read("WHERE row.run = ?", run.hex())]
        return bool(kinds) and kinds[-1] is not Kind.CLOSE

    def open_runs(self) -> tuple[bytes, ...]:
        """All runs that are open, oldest first."""
        closed = "SELECT run FROM ledger WHERE kind = 'close'"
        return tuple(row.run for row in self._read(f"WHERE row.kind = 'open' AND row.run NOT IN ({closed})"))

    def charged_rounds(self, run: bytes) -> frozenset[int]:
        """Numbers of the rounds that a run has charged."""
        return frozenset(row.round for row in self._read("WHERE row.run = ?", run.hex()) if row.kind is Kind.CHARGE)

    def spent_in(self, run: bytes) -> tuple[Event, ...]:
        """Everything that one run has charged."""
        return merged(events_of(row for row in self._read("WHERE row.run = ?", run.hex()) if row.kind is Kind.CHARGE))

    def spent(self) -> tuple[Event, ...]:
        """Everything ever charged."""
        return merged(events_of(row for row in self.rows() if row.kind is Kind.CHARGE))

    def epsilon(self, delta: float) -> float:
        """ε of everything ever charged, over all runs, at this δ (add-or-remove-one-unit)."""
        return _epsilon(self.spent(), delta)

    def epsilon_in(self, run: bytes, delta: float) -> float:
        """ε of one run's charges, at this δ."""
        return _epsilon(self.spent_in(run), delta)

    def committed(self, delta: float) -> float:
        """ε of everything charged and everything that open runs may still charge, at this δ."""
        return _epsilon(committed_by(self.rows()), delta)

    @property
    def head(self) -> Head:
        """The newest row."""
        with named_errors():
            found = self._database.execute("SELECT number, hash FROM ledger ORDER BY number DESC LIMIT 1").fetchone()
        number, value = found or (0, FIRST)
        return Head(number, as_bytes(value))

    def expect(self, known: Head) -> None:
        """Check that this ledger is not an older copy of itself.

        Args:
            known: an earlier head of this ledger.

        Raises:
            LedgerError: the ledger lacks this row.
        """
        if known.number == 0:
            return
        with named_errors():
            found = self._database.execute("SELECT hash FROM ledger WHERE number = ?", (known.number,)).fetchone()
        if not found or as_bytes(found[0]) != known.hash:
            raise LedgerError(
                f"The ledger lacks row {known.number}, which this label wrote: it is an older copy or another ledger.",
                hint="Restore the newest copy: sottovoce label restore",
            )

    def rows(self) -> tuple[Row, ...]:
        """All rows, oldest first.

        Raises:
            LedgerError: a row was changed, removed or inserted.
            UnknownPrivacyEvent: a row contains an event that the accountant cannot interpret.
        """
        return self._read()

    def verify(self) -> None:
        """Read everything again and check the chain, which detects changed, removed and inserted rows.

        Rows cut off at the end, or an older copy of the whole file, leave a valid chain: `expect` finds those.

        Raises:
            LedgerError: the file is damaged or a row was tampered with.
            UnknownPrivacyEvent: a row contains an event that the accountant cannot interpret.
        """
        with self._transaction("BEGIN"):  # another process may append between two reads
            if self._database.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
                raise LedgerError("The ledger is damaged.")
            self.rows()

    def _read(self, where: str = "", *values: object) -> tuple[Row, ...]:
        """The selected rows in order, each checked against its predecessor in the file."""
        columns = "row.number, row.time, row.kind, row.run, row.round, row.events, row.hash, before.hash"
        joined = f"{columns} FROM ledger AS row LEFT JOIN ledger AS before ON before.number = row.number - 1"
        with named_errors():
            found = self._database.execute(f"SELECT {joined} {where} ORDER BY row.number", values).fetchall()
        rows = []
        for number, time, kind, run, round_number, events, expected, previous in found:
            try:
                items = tuple(from_json(item) for item in json.loads(events))
                row = Row(number, time, Kind(kind), bytes.fromhex(run), round_number, items)
                before = FIRST if number == 1 else as_bytes(previous)
                whole = row.hash(before) == as_bytes(expected)
            except (ValueError, TypeError):
                raise LedgerError("A row of the ledger cannot be read, so training does not start.") from None
            if not whole:
                raise tampered(number)
            rows.append(row)
        return tuple(rows)

    def _append(self, kind: Kind, run: bytes, round_number: int, events: tuple[Event, ...]) -> None:
        head = self.head
        row = Row(head.number + 1, datetime.now(UTC).isoformat(timespec="seconds"), kind, run, round_number, events)
        body = canonical_json([to_json(event) for event in events]).decode()
        self._database.execute(
            "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.number, row.time, row.kind.value, run.hex(), row.round, body, row.hash(head.hash)),
        )

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        """One writer at a time: what is read inside cannot change before the write is on disk."""
        with named_errors():
            self._database.execute(begin)
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # the transaction may be gone already; keep the first error
                    self._database.execute("ROLLBACK")
                raise


def _epsilon(events: Iterable[Event], delta: float) -> float:
    """ε of events. A single charge needs no accountant, which is slow to import."""
    from sottovoce.privacy import accountant

    return accountant.epsilon(events, delta)


def _check_alone(plan: PrivacyPlan | None, ceilings: Ceilings) -> None:
    """Check a run by itself against the ceilings."""
    if plan is None:
        if not ceilings.allow_non_private:
            raise BudgetExceeded("The run has no privacy, which the label's policy does not allow.")
        return
    if plan.delta > ceilings.delta:
        raise BudgetExceeded(f"The run's δ = {plan.delta:g} is above its ceiling of {ceilings.delta:g}.")
    # Based on the plan's events, not on the cost that it states.
    alone = _epsilon(plan.whole_run, plan.delta)
    if alone > ceilings.epsilon_per_run:
        raise BudgetExceeded(f"The run's ε = {alone:.4g} is above its ceiling of {ceilings.epsilon_per_run:g}.")


def _check_together(events: tuple[Event, ...], ceilings: Ceilings) -> None:
    """Check everything spent and reserved, including a run's plan, against the lifetime's ceiling."""
    from sottovoce.privacy import accountant

    if accountant.is_at_most(ceilings.epsilon_lifetime, events, ceilings.delta):
        return
    raise BudgetExceeded(
        f"With this run, the tracks' lifetime ε would be {_epsilon(events, ceilings.delta):.4g} at "
        f"δ = {ceilings.delta:g}, above its ceiling of {ceilings.epsilon_lifetime:g}.",
        hint="Close abandoned runs, or decline this one. Spent privacy cannot be recovered.",
    )
