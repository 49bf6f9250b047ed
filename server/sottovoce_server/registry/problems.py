"""Errors as HTTP responses with status codes. No response contains a traceback or a path."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sottovoce.errors import ReleaseError
from sottovoce.files import is_full
from sottovoce.release.check import LARGEST_SIGNATURES
from sottovoce_server.registry.file_store import Gone, TooLarge
from sottovoce_server.registry.publishing import Taken, TooMany
from sottovoce_server.registry.rate_limit import TooOften
from sottovoce_server.registry.responses import Problem

DESCRIBED: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request is malformed.",
        401: "The token is missing, unknown, expired or revoked.",
        403: "The token does not allow this.",
        404: "Not found, or the caller has no access.",
        408: "No data arrived for too long.",
        409: "This version is already published, and never changes.",
        410: "The release has been withdrawn.",
        413: "The body is too large.",
        422: "The request's content is invalid, or the release failed verification.",
        429: "Too many requests; `Retry-After` says when to try again.",
        503: "The database does not respond.",
        507: "The registry's disk is full.",
    }.items()
}
BUSY_SECONDS = "5"


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of an endpoint for its OpenAPI page; 401, 422, 429 and 503 are always possible."""
    return {status: DESCRIBED[status] for status in (*statuses, 401, 422, 429, 503)}


def install(app: FastAPI) -> None:
    """Register a response for each of our errors."""
    answers: dict[type[Exception], Callable[[Any], JSONResponse]] = {
        ReleaseError: lambda error: _answer(422, error.message, error.hint),
        RequestValidationError: lambda error: _answer(422, invalid(error)),
        Taken: lambda _: _answer(409, "This version is already published.", "A published version never changes."),
        Gone: lambda _: _answer(404, "There is no such upload.", "It may have ended: start again."),
        TooLarge: lambda _: _answer(413, "The file is larger than this registry accepts."),
        TooMany: lambda _: _answer(429, "Too many uploads are in progress.", headers={"Retry-After": BUSY_SECONDS}),
        TooOften: lambda error: _answer(429, "Too many requests.", headers={"Retry-After": str(error.seconds)}),
        TimeoutError: lambda _: _answer(408, "No data arrived for too long."),
        OSError: _of_system,
    }
    for unreachable in (OperationalError, InterfaceError, PoolTimeout):
        answers[unreachable] = lambda _: _answer(
            503, "The database does not respond.", headers={"Retry-After": BUSY_SECONDS}
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


def invalid(error: RequestValidationError) -> str:
    """What is invalid and why, without repeating the input."""
    found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return "; ".join(found).encode(errors="replace").decode()


def _of_system(error: OSError) -> JSONResponse:
    if is_full(error):
        return _answer(507, "The registry's disk is full.")
    raise error


class SmallBodies:
    """Limits the size of request bodies, except uploads of files, which have their own limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting the bytes of its body."""
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
