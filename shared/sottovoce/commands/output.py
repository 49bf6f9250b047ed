"""Output of commands: results on stdout, everything else on stderr."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text


def results() -> Console:
    """Console for results: stdout, as wide as the terminal, coloured only on a terminal."""
    return Console(highlight=False)


def notes() -> Console:
    """Console for progress, warnings and errors: stderr."""
    return Console(stderr=True, highlight=False)


def shown(path: Path | str) -> str:
    """A path as text for any terminal: bytes that are not UTF-8 and control characters are escaped."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def counted(number: int, what: str) -> str:
    """A count with its noun: `1 label`, `3 labels`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def beside(sidecar: Path) -> str:
    """Note that tells the user to keep a sidecar."""
    return f"{shown(sidecar)} holds its credentials: keep it beside the file."


def say(console: Console, label: str, message: str, style: str) -> None:
    """Print `label: message` with the label styled; markup in the message is literal, control characters are escaped.

    Messages may quote a stranger's file, such as the name of an unknown field.
    """
    text = "\n".join(map(shown, message.split("\n")))
    console.print(Text.assemble((f"{label}: ", style), text), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON value, for scripts."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, updated with (done, total); silent in logs and pipes."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    console = notes()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(shown(what), total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
