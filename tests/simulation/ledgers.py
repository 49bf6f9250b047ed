"""SQLite on the simulation's disk: a database lives in memory while it is open, and a commit writes it as one effect.

SQLite's own durability is not simulated: with `synchronous = EXTRA` a commit is on disk when it returns, or has not
happened; without, a power cut may undo it. `tests/privacy/test_ledger.py` kills real processes at every system call of
a real ledger.
"""

import re
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from tests.simulation.disk import ROOT, Disk, File

_CHANGES = re.compile(r"\s*(INSERT|UPDATE|DELETE)", re.IGNORECASE)


class Connection:
    """What the ledger uses of `sqlite3.Connection`."""

    def __init__(self, disk: Disk, file: File, effect: Callable[[str], str | None], kept: dict[bytes, Any]) -> None:
        self._disk, self._file, self._effect, self._kept = disk, file, effect, kept
        self._database = kept.pop(file.data, None)
        if self._database is None:
            self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._database.deserialize(file.data)
        self._changed = self._waits = False
        self._known = file.data

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        if statement == "BEGIN IMMEDIATE":
            if self._file.holder not in (None, self):
                raise sqlite3.OperationalError("database is locked")
            self._file.holder = self
        try:
            return self._execute(statement, values)
        finally:
            if statement in ("COMMIT", "ROLLBACK") and self._file.holder is self:
                self._file.holder = None

    def _execute(self, statement: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        if statement == "COMMIT" and self._changed:
            try:
                if self._effect("commit"):
                    raise sqlite3.OperationalError("database or disk is full")
            except BaseException:
                self._database.execute("ROLLBACK")
                self._changed = False
                raise
            done = self._database.execute(statement)
            self._file.data = self._known = self._database.serialize()
            if self._waits:
                self._file.flushed = self._file.data
            self._changed = False
            return done
        if statement.startswith("BEGIN") and self._file.data != self._known:
            self._database.deserialize(self._file.data)  # another process has written meanwhile
            self._known = self._file.data
        if statement == "PRAGMA synchronous = EXTRA":
            self._waits = True
        if _CHANGES.match(statement):
            self._changed = True
        return self._database.execute(statement, values)

    def close(self) -> None:
        if self._file.holder is self:
            self._file.holder = None
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")
        if len(self._kept) > 64:
            self._kept.pop(next(iter(self._kept))).close()
        self._kept.setdefault(self._known, self._database)


def mount(
    patch: pytest.MonkeyPatch, module: Any, disk: Callable[[], Disk], effect: Callable[[str], str | None]
) -> None:
    """Open databases below `ROOT` on the simulation's disk."""
    real = sqlite3.connect
    kept: dict[bytes, Any] = {}

    def connect(where: Any, **options: Any) -> Any:
        path = str(where)
        if not path.startswith(f"file://{ROOT}"):
            return real(where, **options)
        node = disk().find(path[len("file://") :].partition("?")[0])
        if not isinstance(node, File):
            raise sqlite3.OperationalError("unable to open database file")
        return Connection(disk(), node, lambda what: effect(what), kept)

    patch.setattr(sqlite3, "connect", connect)
