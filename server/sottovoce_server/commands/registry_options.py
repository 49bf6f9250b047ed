"""Options that the registry's commands share: the location of its data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

if TYPE_CHECKING:
    from sottovoce_server.database import Database

DATA = Path("registry")
DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", envvar="SOTTOVOCE_REGISTRY", help="The registry's folder.")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        envvar="SOTTOVOCE_DATABASE_URL",
        show_envvar=True,
        show_default=False,
        help="PostgreSQL database to use instead of SQLite in the folder. Other users can see command lines: pass a "
        "password in the environment variable.",
    ),
]


def opened(data: Path, url: str | None) -> "Database":
    """The registry's database, migrated; it is closed when the command ends."""
    from sottovoce_server.database import Database, DataLocation

    database = Database(DataLocation(data, url))
    click.get_current_context().call_on_close(database.close)
    return database
