"""A table of which tracks are held out: one SQLite file that only grows.

A track's side is written once, by `sottovoce_client.data.split`, and never changes: not when its tags are edited, not
when it is removed and added again, not when the rule for new tracks changes.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from sottovoce.errors import PrivacyError
from sottovoce_client.catalogue.tracks import Track
from sottovoce_client.home.new_database import new_database

_SCHEMA = (
    """CREATE TABLE sides (samples TEXT NOT NULL, file TEXT NOT NULL, held_out INTEGER NOT NULL
    CHECK (held_out IN (0, 1)), PRIMARY KEY (samples, file)) WITHOUT ROWID, STRICT""",
    """CREATE TRIGGER no_update BEFORE UPDATE ON sides
    BEGIN SELECT RAISE(ABORT, 'a side is never changed'); END""",
    """CREATE TRIGGER no_delete BEFORE DELETE ON sides
    BEGIN SELECT RAISE(ABORT, 'a side is never forgotten'); END""",
)
VERSION = 1
"""Version of the file, as SQLite's `user_version`."""
_PATIENCE = 10.0
"""Seconds to wait for another process that writes."""
_HINT = "Restore sides.sqlite from a copy; until then nothing is trained."


class Counts(NamedTuple):
    """Number of tracks on each side."""

    train: int
    held_out: int


class Sides:
    """The table, open. Use it as a context manager.

    A track is found by the digest of its samples, which is the same after its tags were edited, or by the digest of its
    file, which is the same if another version of a decoder gives other samples.

    Args:
        path: a table made by `create`. A missing one is an error, since it is unknown what was held out.

    Raises:
        PrivacyError: it is missing, unreadable, damaged or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        with _named_errors():
            if not path.exists():
                raise PrivacyError("The table of held-out tracks is missing, so nothing is trained.", hint=_HINT)
            self._database = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_PATIENCE, isolation_level=None
            )
        try:
            with _named_errors():
                self._database.execute("PRAGMA synchronous = EXTRA")
                (version,) = self._database.execute("PRAGMA user_version").fetchone()
                if version > VERSION:
                    raise PrivacyError(
                        f"The table of held-out tracks has version {version}; this release reads version {VERSION}.",
                        hint="Use the release that wrote it, or a newer one.",
                    )
                found = {sql for (sql,) in self._database.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL")}
                if found != set(_SCHEMA) or self._database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                    raise PrivacyError("The table of held-out tracks is damaged, so nothing is trained.", hint=_HINT)
        except BaseException:
            self._database.close()
            raise

    @classmethod
    def create(cls, path: Path) -> None:
        """Create an empty table, readable by the owner only.

        Raises:
            PrivacyError: the file exists (and is left untouched), or it cannot be written.
        """
        with _named_errors():
            new_database(path, _SCHEMA, VERSION)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.close()

    def of(self, tracks: Sequence[Track], decide: Callable[[Sequence[Track]], Mapping[str, bool]]) -> dict[str, bool]:
        """Whether each track is held out, by the digest of its samples.

        Args:
            tracks: the tracks.
            decide: called with the new tracks, returns the same for them; tracks that it leaves out get no side. Its
                decisions are on the disk when this returns, unless another process wrote first.
        """
        by_samples, by_file = self._read()
        new = [track for track in tracks if track.samples_digest not in by_samples or track.digest not in by_file]
        if new:
            decided = decide(new)
            with self._transaction():
                by_samples, by_file = self._read()
                for track in new:
                    samples, file = track.samples_digest, track.digest
                    side = by_samples.get(samples, by_file.get(file, decided.get(samples)))
                    if side is not None:
                        by_samples[samples] = by_file[file] = side
                        self._database.execute("INSERT OR IGNORE INTO sides VALUES (?, ?, ?)", (samples, file, side))
        found = {track.samples_digest: by_samples.get(track.samples_digest) for track in tracks}
        return {samples: side for samples, side in found.items() if side is not None}

    def counts(self) -> Counts:
        """Number of tracks ever written on each side, including removed ones."""
        with _named_errors():
            query = "SELECT count(DISTINCT samples) FROM sides WHERE held_out = ?"
            train, held_out = (self._database.execute(query, (side,)).fetchone()[0] for side in (0, 1))
        return Counts(train, held_out)

    def _read(self) -> tuple[dict[str, bool], dict[str, bool]]:
        """All sides, by the digests of samples and of files."""
        by_samples, by_file = {}, {}
        with _named_errors():
            for samples, file, held_out in self._database.execute("SELECT samples, file, held_out FROM sides"):
                by_samples[samples] = by_file[file] = bool(held_out)
        return by_samples, by_file

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One writer at a time; its rows are on the disk afterwards."""
        with _named_errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # the transaction may be gone already; the first error is what counts
                    self._database.execute("ROLLBACK")
                raise


@contextmanager
def _named_errors() -> Iterator[None]:
    """Turn whatever prevents reading or writing the table into a PrivacyError without the file's path."""
    try:
        yield
    except FileExistsError:
        raise PrivacyError("There is a table of held-out tracks already; a new one would forget it.") from None
    except (OSError, sqlite3.Error, UnicodeDecodeError):
        raise PrivacyError("The table of held-out tracks cannot be used, so nothing is trained.", hint=_HINT) from None
