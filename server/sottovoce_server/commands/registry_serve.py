"""`sottovoce registry serve`: the registry as a service."""

import ipaddress
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sottovoce.commands.output import notes, say, shown
from sottovoce.errors import ConfigurationError
from sottovoce_server.commands.registry_options import DATA, DatabaseOption, DataOption, opened

if TYPE_CHECKING:
    from sottovoce_server.registry.settings import Settings

MIB = 1 << 20
GRACE_SECONDS = 10
"""Time for running transfers to finish after Ctrl-C, seconds."""


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
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes any free one.")] = 8470,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain (PEM).", show_default=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key (PEM).", show_default=False)
    ] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Listen without TLS on a public address, behind a proxy that adds TLS.")
    ] = False,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address of the proxy that is trusted to report callers' addresses.",
            show_default=False,
        ),
    ] = None,
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
    _expect_tls(host, tls_cert, tls_key, plain_http)
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


def _expect_tls(host: str, cert: Path | None, key: Path | None, plain_http: bool) -> None:
    if (cert is None) != (key is None):
        raise ConfigurationError("--tls-cert and --tls-key must be used together.")
    for path in (cert, key):
        if path is not None and not path.is_file():
            raise ConfigurationError(f"There is no file '{shown(path)}'.")
    if cert is None and not plain_http and not _is_loopback(host):
        raise ConfigurationError(
            f"Without TLS, others could read tokens sent to {host}.",
            hint="Use --tls-cert and --tls-key, or --plain-http behind a proxy that adds TLS.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _run(
    settings: "Settings",
    data: Path,
    database_url: str | None,
    host: str,
    port: int,
    tls: tuple[Path | None, Path | None],
    proxy: str | None,
) -> None:
    import socket
    import ssl

    import uvicorn

    from sottovoce_server.ports.bounded_http import allow_open_files, bounded
    from sottovoce_server.registry.api import make_app
    from sottovoce_server.registry.file_store import Store

    database = opened(data, database_url)
    cert, key = tls
    allow_open_files()
    config = bounded(
        make_app(database, Store(data, settings.largest_file), settings),
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy,
        ssl_certfile=cert,
        ssl_keyfile=key,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        config.load()
    except (ssl.SSLError, OSError):
        raise ConfigurationError(
            "The certificate and its key cannot be used.", hint="Both must be PEM files."
        ) from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen()
        except OSError as error:
            raise ConfigurationError(
                f"Cannot listen on {host}, port {port}: {error.strerror}.", hint="Choose another --port or --host."
            ) from None
        scheme, place = "https" if cert else "http", f"[{host}]" if ":" in host else host
        say(notes(), "Serving", f"{scheme}://{place}:{listening.getsockname()[1]} (Ctrl-C stops it)", "bold green")
        try:
            with suppress(KeyboardInterrupt):  # uvicorn finishes running transfers, then passes the signal on
                uvicorn.Server(config).run(sockets=[listening])
        finally:
            database.close()
        say(notes(), "Stopped", "no transfer was interrupted.", "bold")
