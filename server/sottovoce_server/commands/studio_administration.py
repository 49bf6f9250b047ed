"""`sottovoce studio token` and `log`: who may use the studio, and what it made; also while it runs."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer
from rich.table import Table
from rich.text import Text

from sottovoce.commands.output import counted, notes, print_json, results, say, shown
from sottovoce.commands.release_options import JsonOption
from sottovoce.errors import ConfigurationError
from sottovoce_server.commands.token_commands import (
    DAY,
    DaysOption,
    OutOption,
    TokenArgument,
    create_token,
    revoke_token,
    shown_time,
)

if TYPE_CHECKING:
    from sottovoce_server.database import Database

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="SOTTOVOCE_STUDIO",
        help="The studio's own folder. Default: $SOTTOVOCE_STUDIO, else in the user's data folder.",
    ),
]
token = typer.Typer(
    help="Create, list and revoke the tokens of the studio's users.",
    epilog="Examples:\n\n  sottovoce studio token create ann\n\n  sottovoce studio token list\n\n"
    "  sottovoce studio token revoke 0123456789abcdef",
    no_args_is_help=True,
)


@token.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the user, for the log.", show_default=False)],
    days: DaysOption = 90,
    out: OutOption = None,
    data: DataOption = None,
) -> None:
    """Create a token. It is shown only once: the studio stores a digest.

    Example:

      sottovoce studio token create ann --days 30
    """
    from sottovoce_server.registry.tokens import Scope

    create_token(_opened(data), name, {Scope.USE}, None, days, out)


@token.command("list")
def list_tokens(as_json: JsonOption = False, data: DataOption = None) -> None:
    """List all tokens, without their secrets.

    Example:

      sottovoce studio token list
    """
    from sottovoce_server.registry import tokens

    with _opened(data).session() as session:
        found = [
            {
                "id": each.id,
                "name": each.name,
                "expires": shown_time(each.expires),
                "state": "revoked" if each.revoked else "valid" if tokens.is_alive(each) else "expired",
            }
            for each in tokens.everything(session)
        ]
    if as_json:
        print_json(found)
        return
    table = Table("id", "name", "until", "state", box=None, pad_edge=False, header_style="bold")
    for each in found:
        table.add_row(*map(Text, each.values()))
    results().print(table)


@token.command()
def revoke(
    token_id: TokenArgument,
    data: DataOption = None,
) -> None:
    """Revoke a token at once.

    Example:

      sottovoce studio token revoke 0123456789abcdef
    """
    revoke_token(_opened(data), token_id)


def log(
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Only this month (UTC).")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this release, with or without version.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="csv or json.")] = "csv",
    delete_before: Annotated[
        int | None,
        typer.Option("--delete-before", metavar="DAYS", min=1, help="First delete entries older than this, for good."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Print what the studio made: when, for whom, with which model and parameters, and the audio's digest.

    Examples:

      sottovoce studio log --month 2026-12 --model isles-style-svm > december.csv

      sottovoce studio log --format json

      sottovoce studio log --delete-before 365
    """
    import re

    from sottovoce_server.studio.outputs import MONTH, entries, forget, written

    if form not in ("csv", "json"):
        raise ConfigurationError(f"Unknown format '{shown(form)}'.", hint="Use csv or json.")
    if month is not None and not re.fullmatch(MONTH, month):
        raise ConfigurationError(f"'{shown(month)}' is not a month.", hint="Write YYYY-MM, such as 2026-12.")
    with _opened(data).session() as session:
        if delete_before is not None:
            gone = forget(session, time.time() - delete_before * DAY)
            say(notes(), "Deleted", f"{counted(gone, 'entry').replace('entrys', 'entries')}.", "bold")
        rows = entries(session, month=month, model=model)
    typer.echo(written(rows, form), nl=form == "json")


def _opened(data: Path | None) -> "Database":
    """The studio's database; it is closed when the command ends."""
    import platformdirs

    from sottovoce_server.database import STUDIO, Database, DataLocation

    database = Database(DataLocation(data or platformdirs.user_data_path("sottovoce") / "studio", None, STUDIO))
    click.get_current_context().call_on_close(database.close)
    return database
