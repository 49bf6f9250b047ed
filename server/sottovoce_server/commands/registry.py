"""`sottovoce registry`: run and administer the registry; administration works whether it is running or not."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from sottovoce.commands.doctor import RepairOption, diagnose
from sottovoce.commands.output import notes, print_json, results, say, shown
from sottovoce.commands.release_options import JsonOption
from sottovoce.errors import ConfigurationError
from sottovoce_server.commands.registry_options import DATA, DatabaseOption, DataOption, opened
from sottovoce_server.commands.registry_serve import serve_registry
from sottovoce_server.commands.token_commands import (
    DaysOption,
    OutOption,
    TokenArgument,
    create_token,
    revoke_token,
    shown_time,
)

if TYPE_CHECKING:
    from sottovoce_server.registry.schema import Event, Model, Token


registry = typer.Typer(
    help="Run a registry of releases; control who may publish and download, and see who did.",
    epilog="Examples:\n\n  sottovoce registry serve --key federation.toml\n\n"
    "  sottovoce registry token create studio --scope read\n\n"
    "  sottovoce registry visibility isles-style-svm public\n\n  sottovoce registry audit",
    no_args_is_help=True,
)
token = typer.Typer(
    help="Create, list and revoke access tokens.",
    epilog="Examples:\n\n  sottovoce registry token create coordinator --scope publish\n\n"
    "  sottovoce registry token list\n\n  sottovoce registry token revoke 0123456789abcdef",
    no_args_is_help=True,
)
registry.command("serve")(serve_registry)
registry.add_typer(token, name="token")

ModelArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.", show_default=False)]


@token.command()
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the owner, for people to read.", show_default=False)
    ],
    scopes: Annotated[
        list[str], typer.Option("--scope", metavar="SCOPE", help="read, publish or cosign; repeat for more.")
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Limit the token to this model, which may be private; repeat for more. Default: all but private "
            "models.",
            show_default=False,
        ),
    ] = None,
    days: DaysOption = 90,
    out: OutOption = None,
    data: DataOption = DATA,
    database_url: DatabaseOption = None,
) -> None:
    """Create an access token. It is shown only once: the registry stores a digest.

    Examples:

      sottovoce registry token create coordinator --scope publish --out publish.token

      sottovoce registry token create studio --scope read --model isles-style-svm --days 30
    """
    create_token(opened(data, database_url), name, _scopes(scopes), models or None, days, out)


@token.command("list")
def list_tokens(as_json: JsonOption = False, data: DataOption = DATA, database_url: DatabaseOption = None) -> None:
    """List all tokens, without their secrets.

    Example:

      sottovoce registry token list
    """
    from sottovoce_server.registry import tokens

    with opened(data, database_url).session() as session:
        found = [_described(each) for each in tokens.everything(session)]
    if as_json:
        print_json(found)
        return
    table = Table("id", "name", "scopes", "models", "until", "state", box=None, pad_edge=False, header_style="bold")
    for each in found:
        limited = "all" if each["models"] is None else ", ".join(each["models"])
        row = (each["id"], each["name"], ", ".join(each["scopes"]), limited, each["expires"], each["state"])
        table.add_row(*map(Text, row))
    results().print(table)


@token.command()
def revoke(
    token_id: TokenArgument,
    data: DataOption = DATA,
    database_url: DatabaseOption = None,
) -> None:
    """Revoke a token at once.

    Example:

      sottovoce registry token revoke 0123456789abcdef
    """
    revoke_token(opened(data, database_url), token_id)


@registry.command()
def models(as_json: JsonOption = False, data: DataOption = DATA, database_url: DatabaseOption = None) -> None:
    """List all models and their versions, with who may see them.

    Example:

      sottovoce registry models
    """
    from sottovoce_server.registry import listing

    with opened(data, database_url).session() as session:
        found = [_model(each) for each in listing.everything(session)]
    if as_json:
        print_json(found)
        return
    table = Table("model", "visibility", "version", "published", "", box=None, pad_edge=False, header_style="bold")
    for each in found:
        for release in each["releases"]:
            state = "withdrawn" if release["withdrawn"] else ""
            row = (each["name"], each["visibility"], release["version"], release["published"], state)
            table.add_row(*map(Text, row))
    results().print(table)


@registry.command()
def visibility(
    name: ModelArgument,
    level: Annotated[
        str,
        typer.Argument(
            metavar="LEVEL",
            help="public: everyone; token: every token not limited to other models; private: only tokens that name it.",
            show_default=False,
        ),
    ],
    data: DataOption = DATA,
    database_url: DatabaseOption = None,
) -> None:
    """Change who may see and download a model.

    Example:

      sottovoce registry visibility isles-style-svm public
    """
    from sottovoce_server.registry import audit_log, listing

    if level not in list(listing.Visibility):
        raise ConfigurationError(f"Unknown visibility '{shown(level)}'.", hint="Use public, token or private.")
    with opened(data, database_url).session() as session:
        listing.set_visibility(session, name, listing.Visibility(level))
        audit_log.record(session, audit_log.Action.VISIBILITY, audit_log.OPERATOR, f"{name} {level}")
    say(notes(), "Visibility", f"{name} is now {level}.", "bold green")


@registry.command()
def withdraw(
    release: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The release.", show_default=False)],
    data: DataOption = DATA,
    database_url: DatabaseOption = None,
) -> None:
    """Withdraw a release: it can no longer be downloaded. Its version stays taken; existing copies remain valid.

    Example:

      sottovoce registry withdraw isles-style-svm@20250131T120000Z
    """
    from sottovoce.release.versions import Reference
    from sottovoce_server.registry import audit_log, listing

    reference = Reference.parse(release)
    if reference.version is None:
        raise ConfigurationError("No version given.", hint="Use NAME@VERSION.")
    with opened(data, database_url).session() as session:
        listing.withdraw(session, reference.name, reference.version)
        audit_log.record(session, audit_log.Action.WITHDRAW, audit_log.OPERATOR, str(reference))
    say(notes(), "Withdrawn", f"{reference}.", "bold green")


@registry.command()
def audit(
    limit: Annotated[int, typer.Option(min=1, help="Number of latest entries to show.")] = 100,
    as_json: JsonOption = False,
    data: DataOption = DATA,
    database_url: DatabaseOption = None,
) -> None:
    """Show the audit log: who published, downloaded, co-signed or was refused, and when.

    Examples:

      sottovoce registry audit

      sottovoce registry audit --limit 1000 --json
    """
    from sottovoce_server.registry import audit_log as log

    with opened(data, database_url).session() as session:
        lines = [_line(each) for each in log.latest(session, limit)]
    if as_json:
        print_json(lines)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("time", "action", "token", "subject", "address"):
        table.add_column(column, overflow="fold")  # show the log in full
    for line in lines:
        table.add_row(*(Text(shown(value or "-")) for value in line.values()))
    results().print(table)


def _scopes(scopes: list[str]) -> list[Any]:
    from sottovoce_server.registry.tokens import Scope

    for each in scopes:
        if each not in list(Scope):
            raise ConfigurationError(f"Unknown scope '{shown(each)}'.", hint=f"Use {', '.join(Scope)}.")
    return [Scope(each) for each in scopes]


def _described(token: "Token") -> dict[str, Any]:
    from sottovoce_server.registry.tokens import is_alive, models_of, scopes_of

    limited = models_of(token)
    return {
        "id": token.id,
        "name": token.name,
        "scopes": sorted(scopes_of(token)),
        "models": None if limited is None else sorted(limited),
        "created": shown_time(token.created),
        "expires": shown_time(token.expires),
        "state": "revoked" if token.revoked else "valid" if is_alive(token) else "expired",
    }


def _model(model: "Model") -> dict[str, Any]:
    return {
        "name": model.name,
        "visibility": model.visibility,
        "coordinator_key": model.coordinator_key.hex(),
        "releases": [
            {"version": each.version, "published": shown_time(each.published), "withdrawn": each.withdrawn is not None}
            for each in model.releases
        ],
    }


def _line(event: "Event") -> dict[str, str | None]:
    return {
        "time": shown_time(event.time),
        "action": event.action,
        "token": event.token,
        "subject": event.subject,
        "address": event.address,
    }


@registry.command(
    epilog="Examples:\n\n  sottovoce registry doctor\n\n  sottovoce registry doctor --repair\n\n"
    "  sottovoce registry doctor --json\n\n"
    "Exit code: 0 nothing is wrong, 1 --repair repairs it, 7 a person must decide."
)
def doctor(
    data: DataOption = DATA,
    database: DatabaseOption = None,
    repair: RepairOption = False,
    as_json: JsonOption = False,
) -> None:
    """Examine the registry: what is wrong, and what is safe to do. Every published file is read."""
    from functools import partial

    from sottovoce_server.database import DataLocation
    from sottovoce_server.registry.examination import examine

    diagnose(partial(examine, DataLocation(data, database)), repair=repair, as_json=as_json)
