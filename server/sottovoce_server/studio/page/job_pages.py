"""A job as a page or a card: its progress, its result, and what can be done with it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from sottovoce_server.registry.tokens import Caller
from sottovoce_server.studio.cancelling import cancel as stop
from sottovoce_server.studio.page.parts import Studio
from sottovoce_server.studio.page.rendering import fragment, page, wants_fragment
from sottovoce_server.studio.page.words import Finding, finding
from sottovoce_server.studio.schema import Kind
from sottovoce_server.studio.views import JobView


def job_routes(studio: Studio) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/jobs")
    Who = Annotated[Caller, Depends(studio.caller)]  # noqa: N806 - a type

    def found(job: str, who: Caller) -> JobView:
        row = studio.jobs.find(job, who.owner)
        if row is None:
            raise HTTPException(404, "There is no such job. Its results may have been deleted.")
        return studio.view(row)

    def answer(request: Request, view: JobView) -> Response:
        if wants_fragment(request):
            return card(studio, view)
        return RedirectResponse(f"/jobs/{view.id}", 303)

    @routes.get("/{job}")
    def show(request: Request, job: str, who: Who) -> Response:
        view = found(job, who)
        return page(request, "job", job=view, found=found_in(studio, view), hours=studio.settings.engine.keep_hours)

    @routes.get("/{job}/card")
    def follow(job: str, who: Who) -> Response:
        return card(studio, found(job, who))

    @routes.post("/{job}/cancel")
    def cancel(request: Request, job: str, who: Who) -> Response:
        found(job, who)
        stop(studio.jobs, studio.engine, job, who.owner)
        return answer(request, found(job, who))

    @routes.post("/{job}/keep")
    async def keep(request: Request, job: str, who: Who, number: Annotated[int | None, Form()] = None) -> Response:
        view = await run_in_threadpool(found, job, who)
        if number is not None and all(each.number != number for each in view.audio):
            raise HTTPException(404, "There is no such take.")
        await run_in_threadpool(studio.jobs.keep, job, who.owner, number)
        view = await run_in_threadpool(found, job, who)
        return fragment("kept", job=view) if wants_fragment(request) else answer(request, view)

    return routes


def card(studio: Studio, view: JobView) -> Response:
    """A job's card."""
    return fragment("card", job=view, found=found_in(studio, view), hours=studio.settings.engine.keep_hours)


def found_in(studio: Studio, view: JobView) -> Finding | None:
    """The result of an inspection in words."""
    if view.kind != Kind.INSPECTION or view.result is None:
        return None
    return finding(view.result, studio.releases())
