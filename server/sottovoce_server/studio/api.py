"""The studio's HTTP interface."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus

from sottovoce.version import __version__
from sottovoce_server.database import Database
from sottovoce_server.ports.bounded_body import BoundedBody
from sottovoce_server.ports.file_response import file_response
from sottovoce_server.ports.health import add_health
from sottovoce_server.registry.access import Access
from sottovoce_server.registry.rate_limit import Limiter
from sottovoce_server.registry.tokens import Caller, Scope
from sottovoce_server.studio.cancelling import cancel as stop
from sottovoce_server.studio.door import Door
from sottovoce_server.studio.engine import Engine
from sottovoce_server.studio.intake import Intake
from sottovoce_server.studio.job_files import FORMATS, piece_name
from sottovoce_server.studio.jobs import Jobs
from sottovoce_server.studio.kinds import KINDS, Work
from sottovoce_server.studio.outputs import MONTH, entries, written
from sottovoce_server.studio.page.app import add_pages
from sottovoce_server.studio.page.parts import Studio
from sottovoce_server.studio.page.rendering import shown
from sottovoce_server.studio.problems import described, install
from sottovoce_server.studio.schema import OPEN, Job, Kind, State
from sottovoce_server.studio.settings import MIB, Settings
from sottovoce_server.studio.shelf import Shelf
from sottovoce_server.studio.views import (
    JobList,
    JobView,
    Log,
    ReleaseList,
    ReleaseView,
    WebhookKey,
    job_view,
    release_view,
)
from sottovoce_server.studio.webhooks import Webhooks

DESCRIPTION = """
Recognise, generate and edit music with models that labels trained together without sharing their audio. Work is done by
jobs: each request answers at once with a job, whose result, events and audio are below `/v1/jobs/{id}`.
"""
LONGEST_WAIT = 60.0
"""Longest wait that `Prefer: wait=N` gives, seconds."""
LOOK_SECONDS = 0.02
"""Time between two looks at a job that a caller waits for, seconds; it grows tenfold while nothing happens."""
EVENT_SECONDS = 0.2
"""Time between two events of a job's progress, seconds."""
JOBS_PAGE = 100
ID = re.compile(r"[0-9a-f]{32}")
"""A job's id: whatever else a path holds reaches no database."""
CallerOf = Callable[..., Caller]
Prefer = Annotated[str, Header(description="`wait=N`: answer when the job ends, within N seconds.")]


def make_app(
    database: Database, jobs: Jobs, shelf: Shelf, engine: Engine, settings: Settings, webhooks: Webhooks
) -> FastAPI:
    """The app."""
    access = Access(database, Limiter(settings.limits.requests, settings.limits.refusals))
    caller = access.holder_of(Scope.USE) if settings.tokens else access.caller
    app = FastAPIOffline(title="Sottovoce studio", version=__version__, description=DESCRIPTION, redoc_url=None)
    install(app, shown)
    intake = Intake(jobs, shelf, settings.limits, webhooks)
    app.include_router(_models(database, shelf, caller, webhooks))
    app.include_router(_work(intake, jobs, engine, caller))
    app.include_router(_jobs(database, jobs, engine, caller))
    add_pages(app, Studio(jobs, shelf, engine, intake, settings, access, caller))
    app.add_middleware(Door, hosts=settings.hosts)
    largest = settings.limits.largest_upload_bytes + MIB  # the other fields
    app.add_middleware(BoundedBody, largest_body=lambda _: largest)
    return app


def _models(database: Database, shelf: Shelf, caller: CallerOf, webhooks: Webhooks) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["models"])
    add_health(routes, database, described())

    @routes.get("/webhook-key", responses=described(404))
    def webhook_key() -> WebhookKey:
        """The Ed25519 key that signatures of webhooks are verified with (Standard Webhooks, `v1a`)."""
        if webhooks.public_key is None:
            raise HTTPException(404, "This studio calls no webhooks.")
        return WebhookKey(key=webhooks.public_key)

    @routes.get("/models", responses=described(401), dependencies=[Depends(caller)])
    def models() -> ReleaseList:
        """All releases that can be used, newest first; each was verified."""
        return ReleaseList(models=[release_view(each) for each in shelf.releases().values()])

    @routes.get("/models/{name}", responses=described(401, 404), dependencies=[Depends(caller)])
    def model(name: str) -> ReleaseView:
        """A release by its name, with or without a version: what it is, who made it, with what privacy."""
        found = shelf.find(name)
        if found is None:
            raise HTTPException(404, "There is no release with this name.")
        return release_view(found)

    return routes


def _work(intake: Intake, jobs: Jobs, engine: Engine, caller: CallerOf) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["work"])

    def add(work: Work) -> None:
        async def post(
            request: Request,
            who: Annotated[Caller, Depends(caller)],
            prefer: Prefer = "",
            _key: Annotated[
                str | None,
                Header(alias="Idempotency-Key", description="Repeating a request with its key repeats its answer."),
            ] = None,
        ) -> Response:
            job = await intake.accept(request, who, work)
            engine.wake()
            job = await _ended(jobs, job, _wait_of(prefer))
            status = 202 if job.state in OPEN else 200
            view = await run_in_threadpool(job_view, job, jobs)
            return JSONResponse(view.model_dump(mode="json"), status, {"Location": f"/v1/jobs/{job.id}"})

        routes.add_api_route(
            f"/{work.path}",
            post,
            methods=["POST"],
            name=work.path,
            summary=(work.declaration.__doc__ or "").partition("\n")[0],
            status_code=202,
            response_model=JobView,
            responses=described(400, 401, 403, 404, 408, 413, 507)
            | {200: {"model": JobView, "description": "The job has ended."}},
            openapi_extra={"requestBody": {"required": True, "content": _content(work)}},
        )

    for work in KINDS.values():
        add(work)
    return routes


def _jobs(database: Database, jobs: Jobs, engine: Engine, caller: CallerOf) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["jobs"])
    Who = Annotated[Caller, Depends(caller)]  # noqa: N806 - a type

    def found(job: str, who: Caller) -> Job:
        row = jobs.find(job, who.owner) if ID.fullmatch(job) else None
        if row is None:
            raise HTTPException(404, "There is no such job. It may have been deleted.")
        return row

    @routes.get("/jobs", responses=described(401))
    def latest(
        who: Who, limit: Annotated[int, Query(ge=1, le=JOBS_PAGE)] = JOBS_PAGE, kind: Kind | None = None
    ) -> JobList:
        """Your latest jobs, newest first."""
        return JobList(jobs=[job_view(each, jobs) for each in jobs.latest(who.owner, limit, kind)])

    @routes.get("/jobs/{job}", responses=described(401, 404))
    async def show(job: str, who: Who, prefer: Prefer = "") -> JobView:
        """A job: its state, progress and result."""
        row = await run_in_threadpool(found, job, who)
        return await run_in_threadpool(job_view, await _ended(jobs, row, _wait_of(prefer)), jobs)

    @routes.delete("/jobs/{job}", responses=described(401, 404))
    def cancel(job: str, who: Who) -> JobView:
        """Stop a job. One that has ended stays as it is."""
        found(job, who)
        stop(jobs, engine, job, who.owner)
        return job_view(found(job, who), jobs)

    @routes.get(
        "/jobs/{job}/events",
        responses=described(401, 404)
        | {200: {"description": "Server-sent events: queued, started, progress, done.", "content": _EVENTS}},
        response_class=Response,
    )
    async def events(job: str, who: Who) -> Response:
        """Follow a job until it ends."""
        first = await run_in_threadpool(found, job, who)
        return EventSourceResponse(_events(jobs, first), ping=15)

    @routes.head("/jobs/{job}/audio/{number}", response_class=Response, include_in_schema=False)
    @routes.get(
        "/jobs/{job}/audio/{number}",
        responses=described(401, 404)
        | {
            200: {"description": "The audio.", "content": {"audio/flac": {}, "audio/wav": {}}},
            206: {"description": "A part of it."},
            304: {"description": "The caller already has it."},
            416: {"description": "The range is not satisfiable.", "content": {"text/plain": {}}},
        },
        response_class=Response,
    )
    def audio(
        request: Request,
        job: str,
        number: int,
        who: Who,
        form: Annotated[str, Query(alias="format", pattern="^(flac|wav)$")] = FORMATS[0][1:],
    ) -> Response:
        """A piece that a job made, or a part of it (RFC 9110: ranges, `If-Range`, `If-None-Match`)."""
        row = found(job, who)
        result = row.result or {}
        piece = next((each for each in result.get("audio") or () if each["number"] == number), None)
        file = jobs.folder(job) / piece_name(result.get("claim", 0), number, f".{form}")
        if piece is None or not file.is_file():
            raise HTTPException(404, "There is no such audio. It may have been deleted.")
        name = f"{(row.model or row.file or row.kind).partition('@')[0].rsplit('.', 1)[0]}-{job[:6]}-{number}.{form}"
        return file_response(
            request,
            file,
            piece["sha256"][form],
            f"audio/{form}",
            vary="Authorization, Cookie",
            filename=name,
            content_disposition_type="inline",
        )

    @routes.get(
        "/log",
        responses=described(401) | {200: {"model": Log, "content": {"text/csv": {}}, "description": "The entries."}},
    )
    def log(
        who: Who,
        month: Annotated[str | None, Query(pattern=f"^{MONTH}$", description="Such as 2026-12.")] = None,
        model: Annotated[str | None, Query(max_length=80, pattern=r"^[^\x00]*$")] = None,
        form: Annotated[str, Query(alias="format", pattern="^(json|csv)$")] = "json",
    ) -> Response:
        """The log of your results: when, with which model and parameters, and the digest of the audio."""
        with database.session() as session:
            rows = entries(session, owner=who.owner, month=month, model=model)
        return Response(written(rows, form), media_type="text/csv" if form == "csv" else "application/json")

    return routes


_EVENTS: dict[str, Any] = {"text/event-stream": {}}


async def _events(jobs: Jobs, job: Job) -> AsyncIterator[dict[str, str]]:
    """A job's events: each with the whole job as its data."""
    last: tuple[str, float] | None = None
    row: Job | None = job
    while row is not None:
        view = await run_in_threadpool(job_view, row, jobs)
        now = (row.state, view.progress)
        if now != last:
            yield {"event": _event(row.state, last), "data": view.model_dump_json()}
        last = now
        if row.state not in OPEN:
            return
        await asyncio.sleep(EVENT_SECONDS)
        row = await run_in_threadpool(jobs.find, job.id, job.owner)


def _event(state: str, last: tuple[str, float] | None) -> str:
    if state == State.RUNNING:
        return "started" if last is None or last[0] != State.RUNNING else "progress"
    return "queued" if state == State.QUEUED else "done"


async def _ended(jobs: Jobs, job: Job, seconds: float) -> Job:
    """A job when it has ended, or after a time."""
    until, pause = time.monotonic() + seconds, LOOK_SECONDS
    while job.state in OPEN and time.monotonic() < until and not AppStatus.should_exit:
        await asyncio.sleep(pause)
        pause = min(pause * 1.1, 10 * LOOK_SECONDS)
        found = await run_in_threadpool(jobs.find, job.id, job.owner)
        job = job if found is None else found
    return job


def _wait_of(prefer: str) -> float:
    """Seconds of `wait` in a Prefer header (RFC 7240); 0 without."""
    for each in prefer.split(","):
        name, _, value = each.strip().partition("=")
        if name.strip().lower() == "wait" and value.strip().strip('"').isdigit():
            return min(float(value.strip().strip('"')[:4]), LONGEST_WAIT)
    return 0.0


def _content(work: Work) -> dict[str, Any]:
    """The forms of a request's body for the OpenAPI page."""
    schema = work.body.model_json_schema()
    forms = {"application/json": {"schema": schema}}
    if work.uploads:
        properties = {"file": {"type": "string", "format": "binary"}, **schema["properties"]}
        forms["multipart/form-data"] = {"schema": {**schema, "properties": properties}}
    return forms
