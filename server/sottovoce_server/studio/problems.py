"""Errors as HTTP responses, in the registry's form."""

import errno
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException

from sottovoce.errors import UserError
from sottovoce_server.registry.problems import BUSY_SECONDS, invalid
from sottovoce_server.registry.problems import described as registry_described
from sottovoce_server.registry.rate_limit import TooOften
from sottovoce_server.studio.door import problem
from sottovoce_server.studio.jobs import Refused

TEXTS = {
    404: "Not found, or not yours.",
    422: "The request is invalid, or cannot be carried out.",
    429: "Too many requests or jobs, or too much audio; `Retry-After` says when to try again.",
    507: "The studio's disk is full.",
}


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of an endpoint for its OpenAPI page."""
    found = registry_described(*statuses)
    return found | {status: found[status] | {"description": text} for status, text in TEXTS.items() if status in found}


def install(app: FastAPI) -> None:
    """Register a response for each error."""
    answers: dict[type[Exception], Callable[[Any], JSONResponse]] = {
        UserError: lambda error: problem(422, error.message, error.hint),
        RequestValidationError: lambda error: problem(422, invalid(error)),
        StarletteHTTPException: _of_http,
        HTTPException: _of_http,
        Refused: lambda error: problem(
            error.status, error.message, error.hint, {"Retry-After": str(error.wait)} if error.wait else None
        ),
        TooOften: lambda error: problem(429, "Too many requests.", None, {"Retry-After": str(error.seconds)}),
        OSError: _of_system,
    }
    for unreachable in (OperationalError, InterfaceError, PoolTimeout):
        answers[unreachable] = _of_database
    for kind, answer in answers.items():
        app.add_exception_handler(kind, _handler(answer))


def _handler(answer: Callable[[Any], JSONResponse]) -> Callable[[Request, Exception], JSONResponse]:
    def handle(_: Request, error: Exception) -> JSONResponse:
        return answer(error)

    return handle


def _of_http(error: StarletteHTTPException) -> JSONResponse:
    return problem(error.status_code, str(error.detail), None, dict(error.headers or {}))


def _of_system(error: OSError) -> JSONResponse:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return problem(507, TEXTS[507])
    raise error


def _of_database(error: Exception) -> JSONResponse:
    if "disk is full" in str(error):
        return problem(507, TEXTS[507])
    return problem(503, "The database does not respond.", None, {"Retry-After": BUSY_SECONDS})
