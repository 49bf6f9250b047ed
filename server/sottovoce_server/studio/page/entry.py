"""Where tokens are required: the page that asks for one, and the end of a session."""

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from fastapi.security.http import HTTPAuthorizationCredentials

from sottovoce_server.registry.tokens import Scope
from sottovoce_server.studio.door import COOKIE
from sottovoce_server.studio.page.parts import Studio
from sottovoce_server.studio.page.rendering import ENTRY, page

LONGEST_TOKEN = 200


def entry_routes(studio: Studio) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get(ENTRY)
    def ask(request: Request, back: str = "/") -> Response:
        if not studio.settings.tokens:
            return RedirectResponse("/", 303)
        return page(request, "entry", back=_within(back), problem=None)

    @routes.post(ENTRY)
    async def enter(
        request: Request,
        token: Annotated[str, Form(max_length=LONGEST_TOKEN)] = "",
        back: Annotated[str, Form(max_length=LONGEST_TOKEN)] = "/",
    ) -> Response:
        try:
            await run_in_threadpool(_expect_valid, studio, request, token.strip())
        except HTTPException as error:
            return page(request, "entry", error.status_code, back=_within(back), problem=error.detail)
        answer = RedirectResponse(_within(back), 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, token.strip(), httponly=True, samesite="strict", secure=secure)
        return answer

    @routes.post("/leave")
    def leave(request: Request) -> Response:
        answer = RedirectResponse(ENTRY, 303)
        secure = request.url.scheme == "https"
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=secure)
        return answer

    return routes


def _expect_valid(studio: Studio, request: Request, token: str) -> None:
    """Refuse a token that is not valid here.

    Raises:
        HTTPException: it is not valid.
        TooOften: too many wrong ones came from the same address.
    """
    if not token.isascii() or not token.isprintable():
        token = ""
    header = (b"authorization", f"Bearer {token}".encode())
    bearing = Request({**request.scope, "headers": [*request.scope["headers"], header]})
    studio.access.holder_of(Scope.USE)(bearing, HTTPAuthorizationCredentials(scheme="Bearer", credentials=token))


def _within(path: str) -> str:
    """A path of this studio, wherever the request says it should lead."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"
