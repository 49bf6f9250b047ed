"""Pages that are only read: the models, the results, and where to begin."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from sottovoce_server.registry.tokens import Caller
from sottovoce_server.studio.page.parts import Studio
from sottovoce_server.studio.page.rendering import page
from sottovoce_server.studio.views import release_view

MOST_RESULTS = 100


def reading_routes(studio: Studio) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    Who = Annotated[Caller, Depends(studio.caller)]  # noqa: N806 - a type

    @routes.get("/", dependencies=[Depends(studio.caller)])
    def begin() -> Response:
        return RedirectResponse("/create" if studio.releases("generator") else "/recognise", 303)

    @routes.get("/models", dependencies=[Depends(studio.caller)])
    def models(request: Request) -> Response:
        found = [release_view(each) for each in studio.releases()]
        return page(request, "models", models=found)

    @routes.get("/results")
    def results(request: Request, who: Who) -> Response:
        jobs = [studio.view(each) for each in studio.jobs.latest(who.owner, MOST_RESULTS)]
        return page(request, "results", jobs=jobs, hours=studio.settings.engine.keep_hours)

    return routes
