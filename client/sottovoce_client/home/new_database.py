"""New SQLite files of a home: complete or not there at all, and never in place of an older one."""

import os
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from sottovoce.files import flush_folder


def new_database(path: Path, schema: Iterable[str], version: int) -> None:
    """Create a database, readable by the owner only; it is on disk when this returns.

    Args:
        path: the file.
        schema: statements that make its tables.
        version: version of the format, SQLite's `user_version`.

    Raises:
        FileExistsError: the file exists, and is left untouched.
        OSError: it cannot be written.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        for statement in (*schema, f"PRAGMA user_version = {version}"):
            database.execute(statement)
        content = database.serialize()
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as aside:
            aside.write(content)
            aside.flush()
            os.fsync(aside.fileno())
        path.hardlink_to(name)  # unlike a rename, never replaces an existing file
    finally:
        Path(name).unlink()
    flush_folder(path.parent)
