"""Limits the body of each request before an app reads it: its size, and the time between its parts."""

import asyncio
from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

STRANGERS_BODY = 64 << 10
"""Largest body from a caller without a key, bytes."""
STRANGERS_SECONDS = 30.0
"""Longest time for such a body, seconds."""
PAUSE_SECONDS = 60.0
"""Longest wait for the next part of a body from a caller with a key, seconds."""
TOO_SLOW = 408
TOO_LARGE = 413
LargestBody = Callable[[Scope], int]
"""Returns the largest body of a request, bytes, from its ASGI scope; above `STRANGERS_BODY` for known callers."""


class BoundedBody:
    """ASGI middleware that answers 413 and 408 to bodies that are too large or too slow.

    Args:
        app: the wrapped app.
        largest_body: returns the size limit of a request.
    """

    def __init__(self, app: ASGIApp, largest_body: LargestBody) -> None:
        self._app = app
        self._largest_body = largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; other kinds of events pass unchanged."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        largest = self._largest_body(scope)
        if _declared(scope["headers"]) > largest:
            await _refuse(send, TOO_LARGE)
            return
        request = _Request(largest, receive, send)
        await self._app(scope, request.receive, request.send)


class _Request:
    """One request: counts the bytes of its body, and answers in place of the app when a limit is exceeded.

    The app then sees a disconnected caller, so that its own error handlers do not interfere.
    """

    def __init__(self, largest: int, receive: Receive, send: Send) -> None:
        self._largest = largest
        self._receive = receive
        self._send = send
        self._deadline = asyncio.get_running_loop().time() + STRANGERS_SECONDS
        self._size = 0
        self._complete = False
        self._begun = False
        self._refused = False

    async def receive(self) -> Message:
        if self._refused:
            return {"type": "http.disconnect"}
        if self._complete:  # from now on, only a disconnect can arrive
            return await self._receive()
        left = self._deadline - asyncio.get_running_loop().time() if self._largest <= STRANGERS_BODY else PAUSE_SECONDS
        try:
            event = await asyncio.wait_for(self._receive(), max(0.0, left))
        except TimeoutError:
            return await self._refuse(TOO_SLOW)
        self._size += len(event.get("body", b""))
        if self._size > self._largest:
            return await self._refuse(TOO_LARGE)
        self._complete = not event.get("more_body", False)
        return event

    async def send(self, event: Message) -> None:
        if not self._refused:
            self._begun = True
            await self._send(event)

    async def _refuse(self, status: int) -> Message:
        self._refused = True
        if not self._begun:
            await _refuse(self._send, status)
        return {"type": "http.disconnect"}


def _declared(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The length stated in a request's headers, in bytes; 0 if not stated. h11 has validated it."""
    return max((int(value) for name, value in headers if name == b"content-length"), default=0)


async def _refuse(send: Send, status: int) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
