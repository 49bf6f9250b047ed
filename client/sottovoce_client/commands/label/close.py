"""`sottovoce label close`: close an abandoned run and free the ε that it never charged."""

from pathlib import Path

import typer

from sottovoce.commands.output import counted, results
from sottovoce.errors import ConfigurationError
from sottovoce_client.budget.account import account_of, run_of
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.commands.label.common import opened
from sottovoce_client.rounds.run_state import forget_run


def close_run(beginning: str, home: Path | None, *, yes: bool) -> None:
    """Close one run.

    Raises:
        ConfigurationError: the run is unknown, or already closed.
        LedgerError: the ledger cannot be written.
    """
    label = opened(home)
    found = run_of(account_of(label), beginning)
    if found.state == "closed":
        raise ConfigurationError("This run is already closed.")
    rounds = counted(len(found.charged), "round")
    if not yes:
        typer.confirm(f"Close run {found.run} after {rounds}? It cannot be reopened.", abort=True, err=True)
    run = bytes.fromhex(found.run)
    with forget_run(label.runs, run), open_ledger(label) as ledger:
        ledger.close_run(run)
        label.diary.closed(run, ledger=ledger.head)
    results().print(f"Closed. {rounds[0].upper()}{rounds[1:]} stay charged; the rest is free again.")
