"""Frame of the program: loads every side's commands, and explains any failure in words."""

import errno
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution
from typing import Any

import click
import typer
from typer.core import TyperGroup
from typer.main import get_command

from sottovoce.commands.help_text import set_help
from sottovoce.commands.output import notes, say, shown
from sottovoce.errors import ConfigurationError, SottovoceError
from sottovoce.files import is_full

GROUP = "sottovoce.commands"
DEBUG = "SOTTOVOCE_DEBUG"
COMPLETION = ("install_completion", "show_completion")  # typer adds these to every app
INTERRUPTED = 130  # 128 + SIGINT, as shells count
PATIENCE_SECONDS = 2.0  # for threads to end after Ctrl-C
BUG = 70  # EX_SOFTWARE of sysexits.h
PANELS = {
    "Label": ("label", "catalogue"),
    "Coordinator": ("server", "registry"),
    "Researcher": ("simulate", "synthesise"),
    "Musician, or anyone with a release": ("studio", "classify", "generate", "edit", "inspect", "evaluate", "release"),
}
"""Commands by who uses them, in the order of the help; commands not listed here come first."""


class Program(TyperGroup):
    """Top level: own commands, and those of installed entry points."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        set_help(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, grouped by who uses them."""
        names = [*_entry_points(), *super().list_commands(ctx)]
        order = [name for panel in PANELS.values() for name in panel]
        return sorted(names, key=lambda name: order.index(name) if name in order else -1)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with a name, or None."""
        point = _entry_points().get(cmd_name)
        command = super().get_command(ctx, cmd_name) if point is None else _loaded(point)
        panel = next((panel for panel, names in PANELS.items() if cmd_name in names), None)
        if command is not None and panel is not None:
            command.rich_help_panel = panel  # type: ignore[attr-defined]
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the requested command; every failure ends in a message and its exit code."""
        with _explained():
            return super().invoke(ctx)


@cache
def _entry_points() -> dict[str, EntryPoint]:
    try:
        found = distribution("sottovoce").entry_points.select(group=GROUP)
    except PackageNotFoundError:  # run from a source tree that is not installed
        return {}
    return {point.name: point for point in found}


@cache
def _loaded(point: EntryPoint) -> click.Command:
    """The command behind an entry point: a typer app is a group of commands, a function is one command."""
    try:
        value = point.load()
    except (ImportError, AttributeError) as error:
        return _missing(point.name, str(error))
    if not isinstance(value, typer.Typer):
        single = typer.Typer()
        single.command(point.name)(value)
        value = single
    command = get_command(value)
    command.name = point.name
    command.params = [parameter for parameter in command.params if parameter.name not in COMPLETION]
    set_help(command)
    return command


def _missing(name: str, reason: str) -> click.Command:
    """Stands in for a command of an outdated installation, so that the others still work."""

    def fail() -> None:
        raise ConfigurationError(
            f"The command '{name}' cannot be loaded: {reason}.",
            hint="Install Sottovoce again: pip install --editable . (in its source folder).",
        )

    return click.Command(name, callback=fail, hidden=True, context_settings={"ignore_unknown_options": True})


@contextmanager
def _explained() -> Iterator[None]:
    """Turn an exception into a message that a person can act on; `SOTTOVOCE_DEBUG=1` adds its traceback."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt:
        notes().print("Interrupted.")
        _abandon_threads()
        raise typer.Exit(INTERRUPTED) from None
    except SottovoceError as error:
        raise _failed(error.message, error.hint, error.exit_code) from None
    except MemoryError:
        raise _failed("There is not enough memory.", None, 1) from None
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader of our output has closed it; typer exits quietly
            raise
        raise _failed(*_of_system(error), 1) from None
    except Exception as error:  # last resort
        what = f"This is a bug in Sottovoce ({type(error).__name__}: {error})."
        raise _failed(what, f"Set {DEBUG}=1 for the traceback, and report the bug.", BUG) from None


def _of_system(error: OSError) -> tuple[str, str | None]:
    if is_full(error):
        return "The disk is full: nothing more could be written.", "Free some space and run the command again."
    where = f" ({shown(error.filename)})" if isinstance(error.filename, str) else ""
    return f"System error: {error.strerror or error}{where}.", None


def _abandon_threads() -> None:
    """End the process even if a library's thread does not: Flower's threads wait for ever for workers that are gone.

    All `with` blocks of the command have ended by now, so nothing is left half-written.
    """
    others = [thread for thread in threading.enumerate() if not (thread.daemon or thread is threading.main_thread())]
    for thread in others:
        thread.join(timeout=PATIENCE_SECONDS / len(others))
    if any(thread.is_alive() for thread in others):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


def _failed(message: str, hint: str | None, code: int) -> typer.Exit:
    """Print the error to stderr; return the exception to raise."""
    if os.environ.get(DEBUG):
        traceback.print_exc()
    say(notes(), "Error", message, "bold red")
    if hint:
        say(notes(), "Hint", hint, "bold cyan")
    return typer.Exit(code)
