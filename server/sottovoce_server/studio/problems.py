"""Errors as HTTP responses, in the registry's form."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from sottovoce.errors import UserError
from sottovoce.files import is_full
from sottovoce_server.registry.problems import BUSY_SECONDS, invalid
from sottovoce_server.registry.problems import described as registry_described
from sottovoce_server.registry.rate_limit import TooOften
from sottovoce_server.studio.door import problem
from sottovoce_server.studio.jobs import Refused


class Problem(BaseModel):
    """An error (RFC 9457)."""

    status: int
    detail: str
    hint: str | None


TEXTS: dict[int | str, str] = {
    404: "Not found, or not yours.",
    422: "The request is invalid, or cannot be carried out.",
    429: "Too many requests or jobs, or too much audio; `Retry-After` says when to try again.",
    507: "The studio's disk is full.",
}

Show = Callable[[Request, JSONResponse], Response]


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of an endpoint for its OpenAPI page."""
    return {
        status: {
            "description": TEXTS.get(status, known["description"]),
            "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
        }
        for status, known in registry_described(*statuses).items()
    }


def install(app: FastAPI, show: Show) -> None:
    """Register a response for each error.

    Args:
        app: the app.
        show: turns a response into what the page shows, if it was the page that asked.
    """
    answers: dict[type[Exception], Callable[[Any], JSONResponse]] = {
        UserError: lambda error: problem(422, error.message, error.hint),
        RequestValidationError: lambda error: problem(422, invalid(error)),
        StarletteHTTPException: _of_http,
        HTTPException: _of_http,
        Refused: lambda error: problem(
            error.status, error.message, error.hint, {"Retry-After": str(error.wait)} if error.wait else None
        ),
        TooOften: lambda error: problem(429, "Too many requests.", None, {"Retry-After": str(error.seconds)}),
        ClientDisconnect: lambda _: problem(400, "The connection ended before the request."),
        OSError: _of_system,
        Exception: lambda _: problem(500, "The studio made a mistake.", "Its own output says what happened."),
    }
    for unreachable in (OperationalError, InterfaceError, PoolTimeout):
        answers[unreachable] = _of_database
    for kind, answer in answers.items():
        app.add_exception_handler(kind, _handler(answer, show))


def _handler(answer: Callable[[Any], JSONResponse], show: Show) -> Callable[[Request, Exception], Response]:
    def handle(request: Request, error: Exception) -> Response:
        return show(request, answer(error))

    return handle


def _of_http(error: StarletteHTTPException) -> JSONResponse:
    return problem(error.status_code, str(error.detail), None, dict(error.headers or {}))


def _of_system(error: OSError) -> JSONResponse:
    if is_full(error):
        return problem(507, TEXTS[507])
    raise error


def _of_database(error: Exception) -> JSONResponse:
    if "disk is full" in str(error):
        return problem(507, TEXTS[507])
    return problem(503, "The database does not respond.", None, {"Retry-After": BUSY_SECONDS})
