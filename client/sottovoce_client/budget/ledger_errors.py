"""Errors of reading or writing a label's ledger, in words and without the file's path."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sottovoce.errors import LedgerError


@contextmanager
def named_errors() -> Iterator[None]:
    """Convert errors of reading or writing the ledger to LedgerError, without the file's path."""
    try:
        yield
    except FileNotFoundError:
        raise LedgerError(
            "The ledger is missing, so training does not start.",
            hint="Restore it from a copy. Only a new label's home starts with an empty one.",
        ) from None
    except FileExistsError:
        raise LedgerError("A ledger already exists; a new one would lose the record of what was spent.") from None
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        raise LedgerError(f"The ledger cannot be used, so training does not start ({_cause(error)}).") from None


def _cause(error: OSError | sqlite3.Error | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):  # SQLite's own message quotes the damaged bytes
        return "it is damaged"
    return error.strerror or "input/output error" if isinstance(error, OSError) else str(error)
