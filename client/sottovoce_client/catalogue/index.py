"""The index of a catalogue: remembers what earlier scans found, so that the next one opens only changed files.

It is one SQLite file, written during the scan, so that an interrupted scan resumes. Its content can always be computed
again, so a damaged index is moved aside and rebuilt.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Self

from sottovoce.errors import CatalogueError
from sottovoce_client.catalogue.file_facts import Facts
from sottovoce_client.catalogue.walk import Found

APPLICATION = 0x53_6F_74_74  # "Sott": marks the database as ours, so that another program's is never overwritten
VERSION = 2  # raise it whenever `examine` returns different facts for the same file
BATCH = 64  # files per transaction: the most that a killed process loses
BUSY_SECONDS = 60.0

_TABLE = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, inode INTEGER NOT NULL,
    digest TEXT NOT NULL, samples TEXT NOT NULL, seconds REAL NOT NULL, reason TEXT, detail TEXT NOT NULL,
    title TEXT NOT NULL, artist TEXT NOT NULL, album TEXT NOT NULL, genre TEXT NOT NULL, isrc TEXT NOT NULL
) WITHOUT ROWID, STRICT
"""
_KNOWN = """
SELECT digest, samples, seconds, reason, detail, title, artist, album, genre, isrc FROM files
WHERE path = ? AND size = ? AND modified = ? AND inode = ?
"""
_LEARN = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def default_index(root: Path) -> Path:
    """Default path of a catalogue's index: in the user's cache, never beside the audio; each version has its own."""
    from platformdirs import user_cache_path

    name = sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return user_cache_path("sottovoce") / "catalogues" / f"{name}-{VERSION}.sqlite"


class Index:
    """Facts by path, valid while a file's size, modification time and inode stay the same. Use it from one thread.

    Raises:
        CatalogueError: the index cannot be opened or written, or is a database of another program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unsaved: list[tuple[object, ...]] = []
        with _explained():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                self._connection = _connect(path)
            except sqlite3.OperationalError:  # locked, read-only, no space: nothing is damaged
                raise
            except (sqlite3.DatabaseError, UnicodeDecodeError):  # SQLite's message may contain bytes that are not text
                _put_aside(path)
                self._connection = _connect(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Save the facts, however the scan ends."""
        with closing(self._connection):
            self._save()

    def known(self, file: Found) -> Facts | None:
        """The stored facts of a file, or None if it is new or has changed."""
        key = (os.fsencode(file.path), file.size, file.modified, file.inode)
        with _explained():
            row = self._connection.execute(_KNOWN, key).fetchone()
        return None if row is None else Facts.of(row)

    def learn(self, file: Found, facts: Facts) -> None:
        """Store the facts of a file."""
        self._unsaved.append((os.fsencode(file.path), file.size, file.modified, file.inode, *facts.plain()))
        if len(self._unsaved) >= BATCH:
            self._save()

    def forget_all_but(self, paths: Iterable[str]) -> None:
        """Delete the entries of files that no longer exist."""
        present = {os.fsencode(path) for path in paths}
        with _explained(), self._connection:
            known = [path for (path,) in self._connection.execute("SELECT path FROM files")]
            self._connection.executemany("DELETE FROM files WHERE path = ?", [(p,) for p in known if p not in present])

    def _save(self) -> None:
        """Write the new facts in one short transaction, so that another scan never waits for a decoder."""
        with _explained(), self._connection:
            self._connection.executemany(_LEARN, self._unsaved)
        self._unsaved.clear()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CatalogueError(
            f"The catalogue's index cannot be used: {reason}.", hint="Choose another file with --index."
        ) from None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION:
            raise sqlite3.OperationalError("it is the database of another program")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # losing the last batch only costs time
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            connection.execute("DROP TABLE IF EXISTS files")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute(_TABLE)
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is damaged")
        connection.commit()
        path.chmod(0o600)  # it lists the label's tracks
    except BaseException:
        connection.close()
        raise
    return connection


def _put_aside(path: Path) -> None:
    """Rename the existing file instead of deleting it: --index may name it by mistake."""
    path.replace(path.with_name(f"{path.name}.damaged"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
