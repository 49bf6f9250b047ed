"""`sottovoce studio`: models as a service, and a page to make music on."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from sottovoce.commands.declared_options import takes
from sottovoce.commands.output import counted, notes, say, shown
from sottovoce.errors import ConfigurationError
from sottovoce.web import is_here
from sottovoce_server.commands.serving import (
    CertificateKeyOption,
    CertificateOption,
    HostOption,
    PlainHttpOption,
    PortOption,
    ProxyOption,
    expect_tls,
    serve,
)
from sottovoce_server.commands.studio_administration import DataOption, log, token
from sottovoce_server.studio.settings import StudioRequest

if TYPE_CHECKING:
    from sottovoce_server.studio.engine import Engine
    from sottovoce_server.studio.jobs import Jobs
    from sottovoce_server.studio.settings import Settings
    from sottovoce_server.studio.shelf import Shelf, Trust

GRACE_SECONDS = 2
"""Time for running requests to finish after Ctrl-C, seconds: each can be sent again, and downloads continue."""
studio = typer.Typer(
    help="Recognise, generate and edit music on a page or over HTTP.",
    epilog="Examples:\n\n  sottovoce studio --releases runs\n\n"
    "  sottovoce studio --registry https://models.example.org --key federation.toml\n\n"
    "  sottovoce studio token create ann\n\n  sottovoce studio log --month 2026-12 --format csv",
)
studio.add_typer(token, name="token")
studio.command("log")(log)


@studio.callback(invoke_without_command=True)
@takes(StudioRequest)
def run(
    request: StudioRequest,
    context: typer.Context,
    releases: Annotated[
        list[Path] | None,
        typer.Option("--releases", metavar="DIR", help="A release, or a folder of releases or runs. Repeat for more."),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option("--registry", metavar="URL", help="Registry whose newest releases are pulled; needs --key."),
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="A coordinator's key that you trust: 64 hexadecimal digits, a file that holds them, or the "
            "federation's agreement. Then nothing else is served. Repeat for more.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Your token for the registry.")
    ] = None,
    data: DataOption = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            envvar="SOTTOVOCE_STUDIO_DATABASE_URL",
            show_envvar=True,
            show_default=False,
            help="PostgreSQL database to use instead of SQLite in the folder.",
        ),
    ] = None,
    engine_name: Annotated[
        str,
        typer.Option(
            "--engine", metavar="ENGINE", help="local: processes on this machine; ray: a Ray cluster, with PostgreSQL."
        ),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="HOST:PORT", help="The cluster; by default one on this machine."),
    ] = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8480,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="Further name by which browsers may address it. Repeat for more."),
    ] = None,
    receivers: Annotated[
        list[str] | None,
        typer.Option(
            "--webhooks",
            metavar="HOST",
            help="Host, or HOST:PORT, that may be called when a job ends. Repeat for more.",
        ),
    ] = None,
    tls_cert: CertificateOption = None,
    tls_key: CertificateKeyOption = None,
    plain_http: PlainHttpOption = False,
    proxy: ProxyOption = None,
) -> None:
    """Run the studio: a page on which to recognise, generate and edit music, and the same over HTTP (/docs).

    On this machine nobody needs a token; on any other address everybody does (`sottovoce studio token create`).
    Uploads are deleted when their job ends, and audio after --keep-hours.
    """
    if context.invoked_subcommand is not None:
        return
    from sottovoce_server.database import STUDIO, Database, DataLocation
    from sottovoce_server.studio.api import make_app
    from sottovoce_server.studio.jobs import Jobs
    from sottovoce_server.studio.settings import Settings
    from sottovoce_server.studio.webhooks import Webhooks
    from sottovoce_server.studio.worker import JOBS

    expect_tls(host, tls_cert, tls_key, plain_http)
    folder = _folder(data)
    local = is_here(host)
    hosts = frozenset({"localhost", "127.0.0.1", "::1", host, *(names or ())}) if local or names else frozenset()
    settings = Settings(
        data=folder, limits=request.limits(), engine=request.engine_limits(), tokens=not local, hosts=hosts
    )
    with _alone(folder):
        database = Database(DataLocation(folder, database_url, STUDIO))
        context.call_on_close(database.close)
        if not database.hold():
            raise ConfigurationError(
                "Another studio uses this database.", hint="Use that one, or choose another database."
            )
        jobs = Jobs(database, folder / JOBS)
        shelf = _shelf(releases, registry, keys, token_file, folder)
        engine = _engine(engine_name, settings, jobs, database_url, ray_address)
        webhooks = Webhooks(jobs, receivers or (), folder)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop is as good as Ctrl-C
        engine.start()
        webhooks.start()
        try:
            serve(
                make_app(database, jobs, shelf, engine, settings, webhooks),
                host,
                port,
                (tls_cert, tls_key),
                proxy,
                "jobs that had not ended continue at the next start.",
                GRACE_SECONDS,
            )
        finally:
            webhooks.stop()
            engine.stop()


def _engine(name: str, settings: "Settings", jobs: "Jobs", url: str | None, address: str | None) -> "Engine":
    if name == "local" and address is None:
        from sottovoce_server.studio.engine import LocalEngine

        return LocalEngine(settings, jobs, url)
    if name != "ray":
        raise ConfigurationError(
            "--ray-address needs --engine ray." if name == "local" else f"Unknown engine '{shown(name)}'.",
            hint="Use --engine local or --engine ray.",
        )
    if url is None:
        raise ConfigurationError(
            "--engine ray needs PostgreSQL, which all nodes can reach.",
            hint="Set SOTTOVOCE_STUDIO_DATABASE_URL, and keep --data on a disk that they share.",
        )
    from sottovoce_server.studio.ray_engine import RayEngine

    return RayEngine(settings, jobs, url, address)


def _folder(data: Path | None) -> Path:
    import platformdirs

    return data or platformdirs.user_data_path("sottovoce") / "studio"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder: two studios would take each other's jobs for lost.

    Raises:
        ConfigurationError: another studio uses it.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(folder / "studio.lock", timeout=0):
            yield
    except Timeout:
        raise ConfigurationError(
            f"Another studio uses the folder '{shown(folder)}'.", hint="Use that one, or choose another --data."
        ) from None


def _shelf(
    releases: list[Path] | None, registry: str | None, keys: list[str] | None, token_file: Path | None, folder: Path
) -> "Shelf":
    from sottovoce_server.studio.shelf import Shelf

    trusted = [_trust(key) for key in keys or ()]
    places = list(releases or ())
    for place in places:
        if not place.is_dir():
            raise ConfigurationError(f"There is no folder '{shown(place)}'.", hint="Choose another --releases.")
    if registry is not None:
        from sottovoce_server.studio.mirror import Mirror

        if len(trusted) != 1:
            raise ConfigurationError(
                "--registry needs exactly one --key: the coordinator's that you trust.",
                hint="Ask the coordinator for it: the registry itself cannot prove it.",
            )
        mirror = Mirror(registry, (keys or [])[0], token_file, folder / "releases")
        mirror.start()
        places.append(mirror.folder)
    if not places:
        raise ConfigurationError(
            "No releases are given.", hint="Name a folder with --releases, or a --registry and its --key."
        )
    shelf = Shelf(places, trusted)
    for place, error in shelf.refused().items():
        say(notes(), "Refused", f"{shown(place)}: {error.message}", "bold yellow")
    found = shelf.releases()
    say(notes(), "Releases", f"{counted(len(found), 'release')}: {', '.join(found) or 'none yet'}.", "bold green")
    if found and not trusted:
        say(notes(), "Note", "whose key signed them is not confirmed: pass the one you trust with --key.", "yellow")
    return shelf


def _trust(key: str) -> "Trust":
    from sottovoce.release.trusted_key import trusted_agreement, trusted_key
    from sottovoce_server.studio.shelf import Trust

    found = trusted_key(key)
    if found is None:  # only without the option
        raise click.UsageError("--key is empty.")
    return Trust(found, trusted_agreement(key))
