"""Promises that nothing can use any more: they are released, so that they do not block other runs."""

from contextlib import suppress

from filelock import FileLock, Timeout

from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds.run_state import OWNER_ONLY, delete_state, last_answer, lock_of

LONGEST_SILENCE_DAYS = 30
"""Days without a message of a run after which its promise is released, and its keys are deleted."""
KILLED_WHILE_JOINING = "this label was stopped while it joined, so that its answer never left"
SILENT = f"the coordinator sent nothing about it for {LONGEST_SILENCE_DAYS} days"
_DAY = 86_400.0


def stale_promises(home: LabelHome, *, now: float) -> dict[bytes, str]:
    """Open runs that are over for this label, and why.

    A run without a state can be charged no more: the state is on disk before the answer to the announcement leaves.

    Args:
        home: the label's home.
        now: time in seconds since 1970.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    found = {}
    with open_ledger(home) as ledger:
        for run in ledger.open_runs():
            heard = last_answer(home.runs, run)
            if heard is None:
                found[run] = KILLED_WHILE_JOINING
            elif now - heard > LONGEST_SILENCE_DAYS * _DAY:
                found[run] = SILENT
    return found


def release_stale(home: LabelHome, *, now: float) -> dict[bytes, str]:
    """Close these runs in the ledger, and delete their keys; a run whose lock is held is left alone.

    Args:
        home: the label's home.
        now: time in seconds since 1970.

    Returns:
        The runs that were closed, and why.

    Raises:
        LedgerError: the ledger cannot be read or written.
    """
    released = {}
    for run in stale_promises(home, now=now):
        with suppress(Timeout), FileLock(lock := lock_of(home.runs, run), mode=OWNER_ONLY, timeout=0):
            why = stale_promises(home, now=now).get(run)  # it may have joined while we looked
            if why:
                with open_ledger(home) as ledger:
                    ledger.close_run(run)
                    home.diary.closed(run, why=why, ledger=ledger.head)
                delete_state(home.runs, run)
                lock.unlink(missing_ok=True)
                released[run] = why
    return released
