"""From templates to responses: pages, fragments of pages for htmx, and errors."""

import json
import secrets
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from sottovoce_server.studio.door import COOKIE, POLICY
from sottovoce_server.studio.page import words

NOT_PAGES = ("/v1/", "/docs", "/openapi.json", "/static", "/redoc")
"""Beginnings of the paths whose errors are JSON."""
ENTRY = "/enter"
"""Path of the page that asks for a token."""
HINTS = {"Add 'repair' START:END, 'find_gaps', or an effect.": "Choose a repair or a change."}
"""Hints in the words of the page, where they speak of the interface."""
COLOURS = 10
"""Number of colours by which styles are distinguished."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sottovoce_server.studio.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = words.duration
    environment.filters["figure"] = lambda value: f"{value:g}" if isinstance(value, float) else value
    environment.globals.update(parameter=words.parameter, KINDS=words.KINDS, timedelta=timedelta, COLOURS=COLOURS)
    return environment


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page.

    Args:
        request: the request.
        template: name of the template, without its extension.
        status: HTTP status.
        values: the template's values.
    """
    nonce = secrets.token_urlsafe(16)  # for the player, which brings its style into its own shadow tree
    text = (
        _environment()
        .get_template(f"{template}.jinja")
        .render(path=request.url.path, nonce=nonce, entered=COOKIE in request.cookies, **values)
    )
    policy = POLICY.replace("style-src 'self'", f"style-src 'self' 'nonce-{nonce}'")
    return HTMLResponse(text, status, {"Content-Security-Policy": policy})


def fragment(template: str, headers: dict[str, str] | None = None, status: int = 200, **values: Any) -> HTMLResponse:
    """A part of a page, for htmx."""
    return HTMLResponse(_environment().get_template(f"{template}.jinja").render(**values), status, headers)


def wants_fragment(request: Request) -> bool:
    """Whether htmx asks, which puts the answer into a page."""
    return request.headers.get("hx-request") == "true"


def shown(request: Request, answer: JSONResponse) -> Response:
    """An error as the page shows it: beside the form, or as a page. Without a valid token, that is the entry."""
    path = request.url.path
    if path.startswith(NOT_PAGES):
        return answer
    said = json.loads(bytes(answer.body))
    if answer.status_code == 401:
        return to_entry(request)
    hint = HINTS.get(said["hint"], said["hint"])
    headers = {name: value for name, value in answer.headers.items() if name in ("retry-after", "allow")}
    if wants_fragment(request):
        aim = {"HX-Retarget": "#problem", "HX-Reswap": "innerHTML"}
        return fragment("problem", aim | headers, answer.status_code, detail=said["detail"], hint=hint)
    response = page(request, "error", answer.status_code, detail=said["detail"], hint=hint)
    response.headers.update(headers)
    return response


def to_entry(request: Request) -> Response:
    """Go to the page that asks for a token, and from there back."""
    if wants_fragment(request):
        return Response(headers={"HX-Redirect": ENTRY})
    back = quote(request.url.path, safe="/") if request.method == "GET" else "/"
    return RedirectResponse(f"{ENTRY}?back={back}", 303)
