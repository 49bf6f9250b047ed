"""Serving an app: the address, TLS, and the end by Ctrl-C; shared by the registry and the studio."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from sottovoce.commands.output import notes, say, shown
from sottovoce.errors import ConfigurationError
from sottovoce.web import is_here

GRACE_SECONDS = 10
"""Time for running transfers to finish after Ctrl-C, seconds."""
HostOption = Annotated[str, typer.Option(help="Address to listen on.")]
PortOption = Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes any free one.")]
CertificateOption = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain (PEM).", show_default=False)
]
CertificateKeyOption = Annotated[
    Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key (PEM).", show_default=False)
]
PlainHttpOption = Annotated[
    bool, typer.Option("--plain-http", help="Listen without TLS on a public address, behind a proxy that adds TLS.")
]
ProxyOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address of the proxy that is trusted to report callers' addresses.",
        show_default=False,
    ),
]


def expect_tls(host: str, cert: Path | None, key: Path | None, plain_http: bool) -> None:
    """Refuse half of a certificate, and a public address without one.

    Raises:
        ConfigurationError: either is the case.
    """
    if (cert is None) != (key is None):
        raise ConfigurationError("--tls-cert and --tls-key must be used together.")
    for path in (cert, key):
        if path is not None and not path.is_file():
            raise ConfigurationError(f"There is no file '{shown(path)}'.")
    if cert is None and not plain_http and not is_here(host):
        raise ConfigurationError(
            f"Without TLS, others could read tokens sent to {host}.",
            hint="Use --tls-cert and --tls-key, or --plain-http behind a proxy that adds TLS.",
        )


def serve(
    app: Callable[..., Any],
    host: str,
    port: int,
    tls: tuple[Path | None, Path | None],
    proxy: str | None,
    ended: str,
    grace: int = GRACE_SECONDS,
) -> None:
    """Serve an app until Ctrl-C.

    Args:
        app: an ASGI app.
        host: address to listen on.
        port: port; 0 for any free one.
        tls: certificate chain and private key, or neither.
        proxy: address of the proxy that is trusted to report callers' addresses.
        ended: sentence to say at the end.
        grace: time for running transfers to finish after Ctrl-C, seconds.

    Raises:
        ConfigurationError: the certificate, the address or the port cannot be used.
    """
    import socket
    import ssl

    import uvicorn

    from sottovoce_server.ports.bounded_http import allow_open_files, bounded

    cert, key = tls
    allow_open_files()
    config = bounded(
        app,
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy,
        ssl_certfile=cert,
        ssl_keyfile=key,
        timeout_graceful_shutdown=grace,
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
        with suppress(KeyboardInterrupt):  # uvicorn finishes running transfers, then passes the signal on
            uvicorn.Server(config).run(sockets=[listening])
        say(notes(), "Stopped", ended, "bold")
