"""Helpers of the label's commands: finding the home, its passphrase, and progress bars."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sottovoce.commands.output import notes
from sottovoce.errors import ConfigurationError
from sottovoce_client.home.label_home import LabelHome, default_root
from sottovoce_client.home.node_key import PASSPHRASE, passphrase_of_environment, passphrase_of_file

SIDES_WRITTEN = "every track's side is written down from now on, as it was until now."
"""Note for the people of a home of an earlier version when it gets its table of held-out tracks."""


def opened(home: Path | None) -> LabelHome:
    """The label's home, from the option, the environment or the default.

    Raises:
        ConfigurationError: there is no home, or its description is damaged.
    """
    return LabelHome.open(home or default_root())


def given_passphrase(file: Path | None) -> bytes | None:
    """The passphrase from a file or the environment, if any.

    Raises:
        ConfigurationError: the file cannot be read, or is readable by others.
    """
    return passphrase_of_file(file) if file else passphrase_of_environment()


def unlock(home: LabelHome, file: Path | None) -> None:
    """Put the passphrase of the label's keys into the environment, for child processes, if the keys need one.

    Raises:
        ConfigurationError: it is wrong, or is needed and nobody can be asked.
    """
    given = given_passphrase(file)
    if given is None and home.identity_file.exists() and home.identity_file.read_bytes().startswith(b"-----"):
        if not os.isatty(0):
            raise ConfigurationError(
                "The label's keys need a passphrase.", hint=f"Pass it with --passphrase-file or {PASSPHRASE}."
            )
        given = typer.prompt("Passphrase of the label's keys", hide_input=True, err=True).encode()
    if given is not None:
        os.environ[PASSPHRASE] = given.decode()
    home.identity()
    home.node_key()


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """A progress bar on a terminal; silent in logs and pipes."""
    console = notes()
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(what, total=None)

        def tell(done: int, total: int | None) -> None:
            shown.update(task, completed=done, total=total)

        yield tell
