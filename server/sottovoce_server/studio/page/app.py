"""The pages' routes and static files, added to the studio's app."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from sottovoce_server.studio.page.entry import entry_routes
from sottovoce_server.studio.page.job_pages import job_routes
from sottovoce_server.studio.page.parts import Studio
from sottovoce_server.studio.page.reading_pages import reading_routes
from sottovoce_server.studio.page.work_pages import work_routes

STATIC = Path(__file__).with_name("static")


class _Static(StaticFiles):
    """Files that browsers keep, but ask each time whether they have changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def add_pages(app: FastAPI, studio: Studio) -> None:
    """Add the pages to the app."""
    hidden: dict[str, Any] = {"include_in_schema": False}
    for routes in (work_routes(studio), job_routes(studio), reading_routes(studio), entry_routes(studio)):
        app.include_router(routes, **hidden)
    app.mount("/static", _Static(directory=STATIC), name="static")
