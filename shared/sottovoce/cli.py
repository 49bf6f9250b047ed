"""The program `sottovoce`: its own commands here, those of each side through entry points (decision 0002)."""

from typing import Annotated

import typer

from sottovoce.commands.classify import classify
from sottovoce.commands.edit import EXAMPLES as EDIT
from sottovoce.commands.edit import edit
from sottovoce.commands.evaluate import evaluate
from sottovoce.commands.generate import EXAMPLES as GENERATE
from sottovoce.commands.generate import generate
from sottovoce.commands.inspect import EXAMPLES as INSPECT
from sottovoce.commands.inspect import inspect
from sottovoce.commands.program import Program
from sottovoce.commands.release import release
from sottovoce.version import __version__

EXAMPLES = """
Start here:

  sottovoce synthesise music   make catalogues to try it with

  sottovoce simulate --catalogues music --out run   train, publish a release

  sottovoce classify song.flac --release run/release   and use it
"""

CLASSIFY = """
Examples:

  sottovoce classify song.flac --release run/release

  sottovoce classify *.mp3 --release run/release --json
"""
EVALUATE = """
Examples:

  sottovoce evaluate music/ --release run/release

  sottovoce evaluate music/ --release run/release --json > figures.json
"""

app = typer.Typer(
    name="sottovoce",
    cls=Program,
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sottovoce {__version__}")
        raise typer.Exit


@app.callback()
def sottovoce(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Record labels train music models together without sharing their audio."""


app.command(epilog=CLASSIFY)(classify)
app.command(epilog=EDIT)(edit)
app.command(epilog=EVALUATE)(evaluate)
app.command(epilog=GENERATE)(generate)
app.command(epilog=INSPECT)(inspect)
app.add_typer(release, name="release")


def main() -> None:
    """Run the program; it ends the process with the command's exit code."""
    app(prog_name="sottovoce")
