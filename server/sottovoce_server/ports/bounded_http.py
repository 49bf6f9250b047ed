"""uvicorn for untrusted callers: limits on headers, time and connections.

uvicorn's default parser (httptools) joins an endless header in quadratic time on the event loop, and waits for ever for
the rest of a request. h11 limits what it buffers; timeouts and connection limits are added here.
"""

import asyncio
import resource
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_BYTES = 32 << 10
"""Largest size of a request's line and headers together, bytes."""
HEADER_SECONDS = 10.0
"""Longest time to send a request's headers, since the connection or the last response, or the rest of a request that
was answered before its body, seconds."""
HANDSHAKE_SECONDS = 10.0
"""Longest time for the TLS handshake, seconds."""
TLS_BUFFER_BYTES = 32 << 10
"""Memory that each TLS connection reserves for reading, bytes: two records. asyncio takes 256 KiB, so that idle
connections would fill the memory."""
CONNECTIONS = 8192
"""Largest number of open connections. Further ones are closed at once."""
CONNECTIONS_PER_ADDRESS = 512
"""Largest number of open connections from one address. This machine's own address is exempt: a reverse proxy connects
from there, and limits its callers itself."""
OPEN_FILES = CONNECTIONS + 1024
"""Number of open files that the process requests from the operating system."""


class BoundedLoop(asyncio.SelectorEventLoop):
    """An event loop with a short timeout for TLS handshakes, and little memory for each."""

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        """Listen, like `asyncio`."""
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = HANDSHAKE_SECONDS
            SSLProtocol.max_size = TLS_BUFFER_BYTES
        return await super().create_server(*args, **options)


class BoundedH11(H11Protocol):
    """One connection: closed unless a request's headers arrive completely within `HEADER_SECONDS`."""

    _open: ClassVar[Counter[str]] = Counter()
    _exempt: ClassVar[frozenset[str]] = frozenset({"127.0.0.1", "::1"})
    _clock: asyncio.TimerHandle | None = None
    _address: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; close it at once if there are too many."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        alike = 0 if address in self._exempt else self._open[address]
        if alike >= CONNECTIONS_PER_ADDRESS or self._open.total() >= CONNECTIONS:
            transport.abort()
            return
        self._address = address
        self._open[address] += 1
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection."""
        self._stop_clock()
        if self._address is not None:
            self._open[self._address] -= 1
            if not self._open[self._address]:
                del self._open[self._address]
            self._address = None
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle received data; the timeout applies while headers, or the rest of an answered request, are awaited."""
        super().handle_events()
        if self._awaits():
            self._wait_for_headers()
        else:
            self._stop_clock()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self._awaits():
            self._wait_for_headers()

    def _awaits(self) -> bool:
        """Whether no request is being worked on. An app may answer before the body, which is then thrown away."""
        answered = self.cycle is not None and self.cycle.response_complete
        return self.conn.their_state is h11.IDLE or (self.conn.their_state is h11.SEND_BODY and answered)

    def _wait_for_headers(self) -> None:
        """Start the timeout unless it is running: slowly arriving headers do not reset it."""
        if self._clock is None:
            self._clock = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def bounded(app: Callable[..., Any], **options: Any) -> uvicorn.Config:
    """uvicorn's configuration for serving an app to untrusted callers.

    Args:
        app: an ASGI app that limits bodies itself or through `BoundedBody`.
        options: further settings of uvicorn.
    """
    return uvicorn.Config(
        app,
        http=BoundedH11,
        loop=f"{__name__}:{BoundedLoop.__name__}",
        ws="none",
        h11_max_incomplete_event_size=HEADER_BYTES,
        access_log=False,  # the registry has an audit log, the coordinator a journal
        log_level="warning",
        server_header=False,
        **options,
    )


def allow_open_files() -> None:
    """Raise this process's limit of open files towards `OPEN_FILES`, as permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
