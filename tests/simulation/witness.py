"""What must hold after every step, whatever fails: seen from outside, in messages and on disks."""

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from flwr.app import Message
from tests.simulation.disk import ROOT, Disk, File, Folder
from tests.simulation.network import frame_of

from sottovoce.errors import ConfigurationError, ProtocolError
from sottovoce.federation.log import release_entry
from sottovoce.privacy.accountant import epsilon
from sottovoce.privacy.events import Event, from_json
from sottovoce.protocol.aggregator import Sum
from sottovoce.protocol.messages import CrossCheckSignature, Report, ReportRequest, RunOver, Shares
from sottovoce.protocol.messages import decode as decoded
from sottovoce.protocol.ring import Ring
from sottovoce.release.cosigning import CosignRequest
from sottovoce.run.records import Action
from sottovoce_client.budget.rows import Kind, Row, committed_by
from sottovoce_server.home.journal import Entry, Journal, _parsed

decode = lru_cache(1 << 12)(decoded)
Key = tuple[str, int, str]
"""A run (hexadecimal), a round and a label."""
Made = tuple[Key, np.ndarray, tuple[int, ...] | None]
"""A report that was made: its plain vector, and the earlier rounds whose sums are in it, if noise is correlated."""


class Violation(AssertionError):
    """Something that must never be."""


def expect(holds: object, what: str) -> None:
    """Raise a violation unless something holds."""
    if not holds:
        raise Violation(what)


@dataclass
class Witness:
    """What was seen of a federation since it began.

    Args:
        disk: everybody's disk.
        rounds: number of training rounds of each run.
        limits: lifetime ε of each label, and δ.
        coordinator_journal: opens the coordinator's journal.
    """

    disk: Disk
    rounds: int
    limits: tuple[float, float]
    coordinator_journal: Callable[[], Journal] | None = None
    vectors: dict[Key, np.ndarray] = field(default_factory=dict)
    """The plain vector of each report that was made, whether or not it left."""
    earlier: dict[Key, tuple[int, ...] | None] = field(default_factory=dict)
    """The earlier rounds whose sums are in it; None in a run that correlates no noise."""
    reports: dict[Key, bytes] = field(default_factory=dict)
    """Reports that left a label."""
    answers: dict[tuple[str, Key], bytes] = field(default_factory=dict)
    """Shares and cross-check signatures that left a label, by kind."""
    survivors: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    """The survivor set that a label signed or unmasked."""
    manifests: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Digests of the manifests that anybody saw of a run."""
    asked: dict[tuple[str, int], bytes] = field(default_factory=dict)
    """The request of each round that was sent."""
    bugs: list[str] = field(default_factory=list)
    """Exceptions that nobody foresaw."""
    sums: int = 0
    _ledgers: dict[str, bytes] = field(default_factory=dict)
    _rows: dict[str, tuple[tuple[object, ...], ...]] = field(default_factory=dict)
    _journal: bytes = b""
    _records: tuple[list[Made], list[str]] = field(default_factory=lambda: ([], []))
    _journalled: set[str] = field(default_factory=set)

    def clone(self, disk: Disk) -> "Witness":
        """A copy that goes on by itself, on another disk."""
        other = copy(self)
        other.disk = disk
        for name in ("vectors", "earlier", "reports", "answers", "survivors", "asked", "_ledgers", "_rows"):
            setattr(other, name, dict(getattr(self, name)))
        other.manifests = defaultdict(set, {run: set(seen) for run, seen in self.manifests.items()})
        other.sums, other.bugs, other._journalled = 0, [], set(self._journalled)
        return other

    def begin(self, journal: bytes) -> None:
        """What was there before anything happened."""
        self._journal = journal

    # What passes ----------------------------------------------------------------------------------------------------

    def sent(self, label: str, message: Message) -> None:
        """The coordinator has sent a message."""
        frame = frame_of(message) or b""
        if message.metadata.message_type == Action.COSIGN:
            request = CosignRequest.from_bytes(frame)
            self.manifest(request.run.hex(), request.manifest)
            log = self.disk.find(f"{ROOT}/coordinator/log.jsonl")
            entry = release_entry(hashlib.sha256(request.manifest).digest())
            expect(isinstance(log, File) and entry in log.data.splitlines(), "a release is shown that is in no log")
            return
        asked = decode(frame)
        run = asked.run.hex()  # type: ignore[attr-defined]
        self.journal()
        expect(run in self._journalled, f"the run {run[:8]} has begun without a word in the journal")
        if isinstance(asked, ReportRequest) and asked.round <= self.rounds:  # the evaluation may be repeated
            known = self.asked.setdefault((run, asked.round), frame)
            expect(known == frame, f"round {asked.round} is asked for twice")

    def manifest(self, run: str, data: bytes) -> None:
        """Somebody has seen a release of a run."""
        self.manifests[run].add(hashlib.sha256(data).hexdigest())
        expect(len(self.manifests[run]) == 1, f"the run {run[:8]} has two manifests")

    def heard(self, label: str, request: Message, reply: Message) -> None:
        """A label has answered; it is no longer in its hands."""
        frame = frame_of(reply)
        expect(not self.bugs, "; ".join(self.bugs))
        if frame is None or request.metadata.message_type == Action.COSIGN:
            return
        try:
            answer = decode(frame)
        except ProtocolError as error:
            raise Violation(f"{label} answers what nobody can read: {error}") from None
        if isinstance(answer, Report):
            key = answer.run.hex(), answer.round, label
            expect(key not in self.reports, f"{label} has reported twice in round {answer.round}")
            self.reports[key] = frame
            self.ledger(label)
            self._correlated(key)
        elif isinstance(answer, RunOver):
            expect(answer.run.hex() not in self.open_runs(label), f"{label} has left a run, and keeps its promise")
            expect(answer.run.hex() not in self.secrets(label), f"{label} has left a run, and keeps its key")
        elif isinstance(answer, Shares | CrossCheckSignature):
            kind, key = type(answer).__name__, (answer.run.hex(), answer.round, label)
            expect((kind, key) not in self.answers, f"{label} has sent {kind} twice in round {answer.round}")
            self.answers[kind, key] = frame
            asked = decode(frame_of(request) or b"")
            known = self.survivors.setdefault(key, asked.survivors)  # type: ignore[attr-defined]
            expect(known == asked.survivors, f"{label} helped with two survivor sets")  # type: ignore[attr-defined]
            if isinstance(answer, Shares) and answer.round > self.rounds:
                expect(key[0] not in self.open_runs(label), f"{label} has ended a run, and keeps its promise")
                expect(key[0] not in self.secrets(label), f"{label} has ended a run, and keeps its key")

    @contextmanager
    def recording(self) -> Iterator[tuple[list[Made], list[str]]]:
        """Record what a label's process does that its reply does not show: its plain vectors, and bugs."""
        vectors: list[Made] = []
        bugs: list[str] = []
        before, self._records = self._records, (vectors, bugs)
        try:
            yield self._records
        finally:
            self._records = before

    def made(self, vectors: Sequence[Made], bugs: Sequence[str]) -> None:
        """A label's process has done, once more, what was recorded."""
        for key, vector, earlier in vectors:
            self.vectors[key], self.earlier[key] = vector, earlier
        self.bugs += bugs

    def bug(self, what: str) -> None:
        """A label's process has raised an exception that nobody foresaw."""
        self.bugs.append(what)
        self._records[1].append(what)

    def masked(self, run: str, number: int, label: str, vector: np.ndarray, earlier: tuple[int, ...] | None) -> None:
        """A label has made a report of a plain vector."""
        key = run, number, label
        self.vectors[key], self.earlier[key] = vector, earlier
        self._records[0].append((key, vector, earlier))

    def finished(self, run: str, total: Sum, ring: Ring) -> None:
        """The coordinator has a sum."""
        expected = ring.zeros(total.vector.size)
        for label in total.survivors:
            key = run, total.round, label
            expect(key in self.reports, f"{label} is in the sum of round {total.round}, but never reported")
            expected += self.vectors[key]
        ring.reduce(expected)
        expect(np.array_equal(expected, total.vector), f"the sum of round {total.round} is wrong")
        self.sums += 1

    # What is on disks -----------------------------------------------------------------------------------------------

    def ledger(self, label: str) -> None:
        """A label's ledger only grows, and holds at least what left."""
        file = self.disk.find(f"{ROOT}/{label}/ledger.sqlite")
        expect(isinstance(file, File), f"{label} has lost its ledger")
        assert isinstance(file, File)
        if self._ledgers.get(label) != file.data:
            try:
                rows = ledger_rows(file.data)
            except sqlite3.DatabaseError as error:
                raise Violation(f"{label}'s ledger cannot be read: {error}") from None
            before = self._rows.get(label, ())
            expect(rows[: len(before)] == before, f"a row of {label}'s ledger is gone")
            self._ledgers[label], self._rows[label] = file.data, rows
            if any(kind == "open" for _, _, kind, *_ in rows[len(before) :]):
                self._promised(label, rows)
        self._paid(label)

    def _paid(self, label: str) -> None:
        """A label has paid for what it reported, and has not promised more than its policy allows."""
        rows = self._rows[label]
        charged = {(run, number): events for _, _, kind, run, number, events, _ in rows if kind == "charge"}
        paying = {run for (run, _), events in charged.items() if events != "[]"}
        for key in self.reports:
            run, number, who = key
            if who == label and number <= self.rounds:  # an evaluation may be paid for before
                whole = self.earlier[key] is not None and run in paying  # the first charge is for the whole run
                paid = whole or charged.get((run, number), "[]") != "[]"
                expect(paid, f"{label} reported in round {number} and has not paid")
            elif who == label:
                expect((run, number) in charged or run in paying, f"{label} took part in an evaluation for nothing")

    def _promised(self, label: str, rows: Sequence[tuple[object, ...]]) -> None:
        """A label promises no more than its policy allows, over all runs."""
        lifetime, delta = self.limits
        spent = epsilon(committed(tuple(rows)), delta)
        expect(spent <= lifetime, f"{label} has promised ε = {spent:.2f} of {lifetime:g}")

    def _correlated(self, key: Key) -> None:
        """A report holds the sums of all earlier rounds that its label reported in, if noise is correlated."""
        run, number, label = key
        earlier = self.earlier[key] if number <= self.rounds else None
        if earlier is not None:
            missed = [before for before in range(1, number) if (run, before, label) in self.reports]
            expect(set(missed) <= set(earlier), f"{label} has forgotten its sums of rounds {missed}")

    def journal(self) -> None:
        """What is on disk of the journal verifies, and only grows."""
        file = self.disk.find(f"{ROOT}/coordinator/journal.jsonl")
        data = (file.flushed or b"") if isinstance(file, File) else b""
        if data == self._journal:
            return
        whole, known = data[: data.rfind(b"\n") + 1], self._journal[: self._journal.rfind(b"\n") + 1]
        expect(whole.startswith(known), "the journal has lost a line")
        assert self.coordinator_journal is not None
        journal = self.coordinator_journal()
        lines, before = whole.splitlines(), len(known.splitlines())
        for number, line in enumerate(lines[before:], start=before + 1):
            entry = journal_entry(line)
            expect(journal._is_ours(entry), f"line {number} of the journal is not signed")
            chained = journal_entry(lines[number - 2]).digest if number > 1 else "0" * 64
            expect(entry.number == number and entry.previous == chained, f"line {number} of the journal is not chained")
            if entry.kind in ("announcement", "resumption"):
                self._journalled.add(entry.data["run"])
        self._journal = data

    def secrets(self, label: str) -> list[str]:
        """Runs whose secret state a label still holds."""
        folder = self.disk.find(f"{ROOT}/{label}/runs")
        assert isinstance(folder, Folder)
        return sorted(name.removesuffix(".json") for name in folder.names if name.endswith(".json") and name[0] != ".")

    def open_runs(self, label: str) -> list[str]:
        """Runs that a label's ledger still reserves ε for."""
        self.ledger(label)
        kinds = {run: kind for _, _, kind, run, _, _, _ in self._rows[label]}
        return [run for run, kind in kinds.items() if kind != "close"]


@lru_cache(1 << 10)
def ledger_rows(data: bytes) -> tuple[tuple[object, ...], ...]:
    """All rows of a ledger."""
    database = sqlite3.connect(":memory:")
    try:
        database.deserialize(data)
        return tuple(database.execute("SELECT * FROM ledger ORDER BY number"))
    finally:
        database.close()


@lru_cache(1 << 10)
def committed(rows: tuple[tuple[object, ...], ...]) -> tuple[Event, ...]:
    """What rows of a ledger have spent, and may still spend."""
    return committed_by(
        Row(number, time, Kind(kind), bytes.fromhex(run), of, tuple(map(from_json, json.loads(events))))  # type: ignore[arg-type]
        for number, time, kind, run, of, events, _ in rows
    )


def journal_entry(line: bytes) -> Entry:
    """A line of the journal, read."""
    try:
        return _parsed(line, 0)
    except ConfigurationError as error:
        raise Violation(f"a line of the journal cannot be read: {line[:60]!r}") from error


def journal_of(identity: object) -> Journal:
    """The coordinator's journal on the simulated disk."""
    return Journal(Path(f"{ROOT}/coordinator/journal.jsonl"), identity)  # type: ignore[arg-type]
