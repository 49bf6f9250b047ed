"""`sottovoce registry serve`: the registry as a service."""

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sottovoce.commands.output import notes, say
from sottovoce_server.commands.registry_options import DATA, DatabaseOption, DataOption, opened
from sottovoce_server.commands.serving import (
    CertificateKeyOption,
    CertificateOption,
    HostOption,
    PlainHttpOption,
    PortOption,
    ProxyOption,
    expect_tls,
)
from sottovoce_server.commands.serving import serve as serve_app

if TYPE_CHECKING:
    from sottovoce_server.registry.settings import Settings

MIB = 1 << 20


def serve_registry(
    keys: Annotated[
        list[str],
        typer.Option(
            "--key",
            metavar="KEY",
            help="Public key of a coordinator whose releases may be published: 64 hexadecimal digits, a file that "
            "holds them, or the federation's agreement, which also lets its labels co-sign. Repeat for more.",
        ),
    ],
    data: DataOption = DATA,
    database_url: DatabaseOption = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8470,
    tls_cert: CertificateOption = None,
    tls_key: CertificateKeyOption = None,
    plain_http: PlainHttpOption = False,
    proxy: ProxyOption = None,
    largest_file: Annotated[
        int, typer.Option("--largest-file", metavar="MIB", min=1, help="Largest file of a release, in MiB.")
    ] = 1024,
    rate_limit: Annotated[
        int, typer.Option("--rate-limit", metavar="N", min=1, help="Requests per minute allowed to one caller.")
    ] = 600,
) -> None:
    """Run the registry service, to which releases are published and from which they are downloaded.

    It accepts only releases signed by a pinned coordinator, and checks them as a consumer would. New models are
    private; grant access with `sottovoce registry token` and `visibility`. /docs describes the HTTP interface. Ctrl-C
    stops it once running transfers are finished, or after ten seconds.

    Examples:

      sottovoce registry serve --key federation.toml

      sottovoce registry serve --key federation.toml --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem

      sottovoce registry serve --key federation.toml --data /var/lib/sottovoce/registry --port 8470
    """
    expect_tls(host, tls_cert, tls_key, plain_http)
    _run(_settings(keys, largest_file * MIB, rate_limit), data, database_url, host, port, (tls_cert, tls_key), proxy)


@wraps(serve_registry)
def _serve_by_old_name(**options: Any) -> None:
    say(
        notes(),
        "Note",
        "`sottovoce serve` is now `sottovoce registry serve`. The next version drops the old name.",
        "bold yellow",
    )
    serve_registry(**options)


serve = typer.Typer()
serve.command("serve", hidden=True)(_serve_by_old_name)


def _settings(keys: list[str], largest_file: int, rate_limit: int) -> "Settings":
    from sottovoce.federation.invitation import read_agreement
    from sottovoce.release.trusted_key import trusted_key
    from sottovoce_server.registry.settings import Settings, pinned

    agreements = tuple(read_agreement(Path(key)) for key in keys if key.endswith(".toml") and Path(key).is_file())
    return Settings(pinned([trusted_key(key) for key in keys]), agreements, largest_file, rate_limit)


def _run(
    settings: "Settings",
    data: Path,
    database_url: str | None,
    host: str,
    port: int,
    tls: tuple[Path | None, Path | None],
    proxy: str | None,
) -> None:
    from sottovoce_server.registry.api import make_app
    from sottovoce_server.registry.file_store import Store

    database = opened(data, database_url)
    app = make_app(database, Store(data, settings.largest_file), settings)
    serve_app(app, host, port, tls, proxy, "no transfer was interrupted.")
