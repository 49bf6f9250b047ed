"""What earlier scans found, so that the next one opens only what changed.

One SQLite file, written as the scan goes: a scan that is interrupted goes on where it was. It holds nothing that could
not be found out again, so a damaged one is put aside and begun anew.
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

APPLICATION = 0x53_6F_74_74  # "Sott": a database of somebody else's is never taken for an index
VERSION = 1  # raised whenever `examine` would say something else of the same file
BATCH = 64  # files whose facts a killed process may cost
BUSY_SECONDS = 60.0

_TABLE = """
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, inode INTEGER NOT NULL,
    digest TEXT NOT NULL, seconds REAL NOT NULL, reason TEXT, detail TEXT NOT NULL,
    title TEXT NOT NULL, artist TEXT NOT NULL, album TEXT NOT NULL, genre TEXT NOT NULL, isrc TEXT NOT NULL
) WITHOUT ROWID, STRICT
"""
_KNOWN = """
SELECT digest, seconds, reason, detail, title, artist, album, genre, isrc FROM files
WHERE path = ? AND size = ? AND modified = ? AND inode = ?
"""
_LEARN = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def default_index(root: Path) -> Path:
    """Where the index of a catalogue lives unless somebody says otherwise: in the user's cache, never beside audio."""
    from platformdirs import user_cache_path

    name = sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return user_cache_path("sottovoce") / "catalogues" / f"{name}.sqlite"


class Index:
    """Facts by path, valid as long as a file's size, time and inode stay the same. For one thread.

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
            except (sqlite3.DatabaseError, UnicodeDecodeError):  # SQLite's own message may quote what is no text
                _put_aside(path)
                self._connection = _connect(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep what was learnt, however the scan ends."""
        with closing(self._connection):
            self._save()

    def known(self, file: Found) -> Facts | None:
        """What is known of a file, or None where it is new or has changed."""
        key = (os.fsencode(file.path), file.size, file.modified, file.inode)
        with _explained():
            row = self._connection.execute(_KNOWN, key).fetchone()
        return None if row is None else Facts.of(row)

    def learn(self, file: Found, facts: Facts) -> None:
        """Remember what a file's content says."""
        self._unsaved.append((os.fsencode(file.path), file.size, file.modified, file.inode, *facts.plain()))
        if len(self._unsaved) >= BATCH:
            self._save()

    def forget_all_but(self, paths: Iterable[str]) -> None:
        """Drop files that are no longer there."""
        present = {os.fsencode(path) for path in paths}
        with _explained(), self._connection:
            known = [path for (path,) in self._connection.execute("SELECT path FROM files")]
            self._connection.executemany("DELETE FROM files WHERE path = ?", [(p,) for p in known if p not in present])

    def _save(self) -> None:
        """Write what was learnt in one short transaction, so that another scan waits for no decoder."""
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
        connection.execute("PRAGMA synchronous = NORMAL")  # losing the last batch costs time, not truth
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            connection.execute("DROP TABLE IF EXISTS files")
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute(_TABLE)
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is damaged")
        connection.commit()
        path.chmod(0o600)  # it names the label's tracks
    except BaseException:
        connection.close()
        raise
    return connection


def _put_aside(path: Path) -> None:
    """Keep what is there under another name: it may be a file that was named by mistake."""
    path.replace(path.with_name(f"{path.name}.damaged"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
