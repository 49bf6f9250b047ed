"""What goes wrong, as HTTP says it: our errors and their status codes. No answer holds a traceback or a path."""

import errno
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sottovoce.errors import ReleaseError
from sottovoce.release.check import LARGEST_SIGNATURES
from sottovoce_server.registry.file_store import Gone, TooLarge
from sottovoce_server.registry.publishing import Taken, TooMany
from sottovoce_server.registry.rate_limit import TooOften
from sottovoce_server.registry.responses import Problem

DESCRIBED: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request cannot be read.",
        401: "There is no token, or it is unknown, expired or revoked.",
        403: "The token does not allow this.",
        404: "There is no such thing, or none that the caller may see.",
        408: "Nothing came for too long.",
        409: "This version is published already, and never changes.",
        410: "The release was withdrawn.",
        413: "The body is too large.",
        422: "What was sent is not what is expected, or the release is not in order.",
        429: "Too many requests; `Retry-After` says when to ask again.",
        503: "The database does not answer.",
        507: "The registry's disk is full.",
    }.items()
}
BUSY_SECONDS = "5"


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of an endpoint, for its OpenAPI page; any endpoint may answer 401, 422, 429 and 503."""
    return {status: DESCRIBED[status] for status in (*statuses, 401, 422, 429, 503)}


def install(app: FastAPI) -> None:
    """Let the app answer each of our errors with its status."""
    answers: dict[type[Exception], Callable[[Any], JSONResponse]] = {
        ReleaseError: lambda error: _answer(422, error.message, error.hint),
        RequestValidationError: lambda error: _answer(422, _invalid(error)),
        Taken: lambda _: _answer(409, "This version is published already.", "A published version never changes."),
        Gone: lambda _: _answer(404, "There is no such upload.", "It may have ended: begin anew."),
        TooLarge: lambda _: _answer(413, "The file is larger than this registry takes."),
        TooMany: lambda _: _answer(429, "Too many uploads are under way.", headers={"Retry-After": BUSY_SECONDS}),
        TooOften: lambda error: _answer(429, "Too many requests.", headers={"Retry-After": str(error.seconds)}),
        TimeoutError: lambda _: _answer(408, "Nothing came for too long."),
        OSError: _of_system,
    }
    for unreachable in (OperationalError, InterfaceError, PoolTimeout):
        answers[unreachable] = lambda _: _answer(
            503, "The database does not answer.", headers={"Retry-After": BUSY_SECONDS}
        )
    for kind, answer in answers.items():
        app.add_exception_handler(kind, _handler(answer))
    app.add_middleware(SmallBodies)


def _handler(answer: Callable[[Any], JSONResponse]) -> Callable[[Request, Exception], JSONResponse]:
    def handle(_: Request, error: Exception) -> JSONResponse:
        return answer(error)

    return handle


def _answer(
    status: int, detail: str, hint: str | None = None, *, headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse({"detail": detail, "hint": hint}, status, headers)


def _invalid(error: RequestValidationError) -> str:
    """Where and why, without repeating what was sent."""
    found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return "; ".join(found).encode(errors="replace").decode()


def _of_system(error: OSError) -> JSONResponse:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _answer(507, "The registry's disk is full.")
    raise error


class SmallBodies:
    """Refuses a body beyond what any request but a file's upload, which counts for itself, may have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting its body."""
        if scope["type"] != "http" or (scope["method"] == "PUT" and "/files/" in scope["path"]):
            await self._app(scope, receive, send)
            return
        left = LARGEST_SIGNATURES

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, "The body is too large.")
            return message

        await self._app(scope, counted, send)
