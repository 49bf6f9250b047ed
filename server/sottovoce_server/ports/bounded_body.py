"""Bounds the body of each request before an app reads it: its bytes, and the time between them."""

import asyncio
from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

STRANGERS_BODY = 64 << 10
"""Most bytes of a body whose sender has shown no key."""
STRANGERS_SECONDS = 30.0
"""Time for all of such a body, in seconds."""
PAUSE_SECONDS = 60.0
"""Longest wait for the next part of a body whose sender has shown a key, in seconds."""
TOO_SLOW = 408
TOO_LARGE = 413
LargestBody = Callable[[Scope], int]
"""The most bytes of body that a request may have, from its ASGI scope; more than `STRANGERS_BODY` for known callers."""


class BoundedBody:
    """An ASGI app in front of another one: it answers 413 and 408 to bodies that are too large or too slow.

    Args:
        app: the other one.
        largest_body: how many bytes a request may have.
    """

    def __init__(self, app: ASGIApp, largest_body: LargestBody) -> None:
        self._app = app
        self._largest_body = largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; other kinds of events as they are."""
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
    """One request: counts what comes of its body, and answers in the app's stead once it is too much.

    The app then sees a caller who has gone, so that no error handler of its own comes between.
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
        if self._complete:  # what comes now is only that the caller has gone
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
    """The length that a request's headers state, in bytes; 0 where they state none. h11 has checked that it is one."""
    return max((int(value) for name, value in headers if name == b"content-length"), default=0)


async def _refuse(send: Send, status: int) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
