"""Creating and revoking tokens: shared by the registry and the studio."""

import os
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sottovoce.commands.output import notes, say, shown
from sottovoce.errors import ConfigurationError

if TYPE_CHECKING:
    from sottovoce_server.database import Database
    from sottovoce_server.registry.tokens import Scope

DAY = 24 * 3600
DaysOption = Annotated[int, typer.Option(min=1, max=3650, help="Days until the token expires.")]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Write the token to a new file that only you can read.", show_default=False
    ),
]
TokenArgument = Annotated[str, typer.Argument(metavar="ID", help="The token's id.", show_default=False)]


def create_token(
    database: "Database",
    name: str,
    scopes: "Collection[Scope]",
    models: Collection[str] | None,
    days: int,
    out: Path | None,
) -> None:
    """Create a token, and print it or write it to a new file.

    Args:
        database: database of tokens.
        name: name of the owner.
        scopes: permissions.
        models: models that it is limited to; None: all.
        days: days until it expires.
        out: file to write, or None.

    Raises:
        ConfigurationError: the file exists, or a name is invalid.
    """
    from sottovoce_server.registry import audit_log, tokens

    if out is not None and os.path.lexists(out):
        raise ConfigurationError(f"'{shown(out)}' already exists.", hint="Choose another --out.")
    with database.session() as session:
        made, text = tokens.create(session, name, scopes, models, days * DAY)
        audit_log.record(session, audit_log.Action.TOKEN_CREATE, audit_log.OPERATOR, f"{made.id} {made.name}")
        if out is not None:
            with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text + "\n")
    if out is None:
        typer.echo(text)
    say(notes(), "Token", f"{made.id} for '{made.name}' expires on {shown_time(made.expires)}.", "bold green")


def revoke_token(database: "Database", token_id: str) -> None:
    """Revoke a token at once.

    Raises:
        ConfigurationError: there is no token with this id.
    """
    from sottovoce_server.registry import audit_log, tokens

    with database.session() as session:
        ended = tokens.revoke(session, token_id)
        audit_log.record(session, audit_log.Action.TOKEN_REVOKE, audit_log.OPERATOR, f"{ended.id} {ended.name}")
    say(notes(), "Revoked", f"{ended.id} for '{ended.name}'.", "bold green")


def shown_time(seconds: float) -> str:
    """A time (seconds since 1970) in UTC, for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
