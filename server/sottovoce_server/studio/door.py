"""What every request passes before the app: where it may come from, and who sent it."""

import asyncio
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "sottovoce_token"
"""Cookie of a browser that holds a token."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self' blob:; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content security policy of all pages but the interface's description, whose scripts are inline."""
DESCRIPTION_PAGES = ("/docs", "/redoc")


class Door:
    """ASGI middleware: refuses other sites' requests, and adds security headers.

    A browser sends any site's requests to this machine's address, too: the host's name must be one that the operator
    knows (against DNS rebinding), and whatever changes something must come from our own pages.

    Args:
        app: the wrapped app.
        hosts: allowed names, without ports; empty: any.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if "authorization" not in headers and (token := _token(headers.get("cookie", ""))):
            scope = {**scope, "headers": [*scope["headers"], (b"authorization", f"Bearer {token}".encode())]}

        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                _secure(MutableHeaders(scope=message), scope["path"])
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except asyncio.CancelledError:  # the server ends, and has waited for this request
            if not begun:
                answer = problem(503, "The studio is stopping.", "Send the request again.", {"Retry-After": "10"})
                await answer(scope, receive, sent)

    def _refusal(self, method: str, headers: Headers) -> JSONResponse | None:
        host = _host(headers.get("host", ""))
        if self._hosts and host not in self._hosts:
            return problem(421, "This name is not one of the studio's.", "Use the address that it printed.")
        if method in SAFE:
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        foreign = site not in (None, "same-origin", "none")
        if foreign or (origin is not None and urlsplit(origin).netloc != headers.get("host")):
            return problem(403, "This request comes from another site.")
        return None


def problem(status: int, detail: str, hint: str | None = None, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as a response (RFC 9457)."""
    body: dict[str, Any] = {"status": status, "detail": detail, "hint": hint}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _token(cookies: str) -> str | None:
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return None if found is None or not found.value.isascii() else found.value


def _host(header: str) -> str:
    """The name or address in a Host header, without the port."""
    try:
        place = urlsplit(f"//{header}")
        return "" if place.port == 0 else place.hostname or ""  # the port must be a number
    except ValueError:
        return ""


def _secure(headers: MutableHeaders, path: str) -> None:
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")  # with less, forms have no origin
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers.setdefault("Cache-Control", "no-store")
    if not path.startswith(DESCRIPTION_PAGES):
        headers.setdefault("Content-Security-Policy", POLICY)
