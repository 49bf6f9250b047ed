"""Pages on which work is asked for: create, edit, recognise, and where a file comes from."""

import csv
import io
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from sottovoce.studio.editing.methods import METHODS
from sottovoce.studio.requests import LEARNED, ClassificationRequest, EditRequest, GenerationRequest
from sottovoce_server.registry.tokens import Caller
from sottovoce_server.studio.kinds import KINDS
from sottovoce_server.studio.page.chain import chain_of
from sottovoce_server.studio.page.forms import controls
from sottovoce_server.studio.page.job_pages import found_in
from sottovoce_server.studio.page.parts import Studio
from sottovoce_server.studio.page.rendering import fragment, page, wants_fragment
from sottovoce_server.studio.schema import Job, Kind, State
from sottovoce_server.studio.shelf import Shelved
from sottovoce_server.studio.views import JobView

SHOWN = {Kind.GENERATION: 6, Kind.EDIT: 20, Kind.CLASSIFICATION: 100, Kind.INSPECTION: 10}
"""Number of earlier jobs that a page shows."""
MOST_PIECES = 8
"""Number of earlier jobs whose pieces are offered for editing."""
TAKES = 3
"""Number of takes that the form suggests."""
MOST_ROWS = 1000
"""Most files in a table of recognised styles."""


def work_routes(studio: Studio) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    Who = Annotated[Caller, Depends(studio.caller)]  # noqa: N806 - a type

    def earlier(who: Caller, kind: Kind, most: int | None = None) -> list[JobView]:
        return [studio.view(each) for each in studio.jobs.latest(who.owner, most or SHOWN[kind], kind)]

    async def accept(request: Request, who: Caller, kind: Kind) -> Job:
        job = await studio.intake.accept(request, who, KINDS[kind])
        studio.engine.wake()
        return job

    async def answer(request: Request, job: Job, template: str = "card_in", **values: Any) -> Response:
        if not wants_fragment(request):
            return RedirectResponse(f"/jobs/{job.id}", 303)
        view = await run_in_threadpool(studio.view, job)
        hours = studio.settings.engine.keep_hours
        return fragment(template, job=view, found=None, hours=hours, **values)

    def jobs_page(request: Request, template: str, jobs: list[JobView], **values: Any) -> Response:
        return page(
            request,
            template,
            jobs=jobs,
            found={each.id: found_in(studio, each) for each in jobs},
            hours=studio.settings.engine.keep_hours,
            megabytes=studio.settings.limits.largest_upload,
            longest=studio.settings.limits.longest_seconds,
            **values,
        )

    @routes.get("/create")
    def create(request: Request, who: Who, again: str = "") -> Response:
        before = studio.jobs.find(again, who.owner)
        if before is None or before.kind != Kind.GENERATION:
            values, chosen = {"count": TAKES}, None
        else:
            values, chosen = before.parameters, before.model
        releases, judges = studio.releases("generator"), studio.releases("style")
        return jobs_page(
            request,
            "create",
            earlier(who, Kind.GENERATION),
            releases=releases,
            chosen=chosen,
            judges=judges,
            fields=controls(GenerationRequest, values, {"style": _styles(releases, chosen)}),
        )

    @routes.get("/create/styles", dependencies=[Depends(studio.caller)])
    def styles(model: str = "") -> Response:
        known = _styles(studio.releases("generator"), model)
        found = controls(GenerationRequest, {}, {"style": known})
        return fragment("style", field=next(each for each in found[""] if each.name == "style"))

    @routes.post("/create")
    async def generate(request: Request, who: Who) -> Response:
        return await answer(request, await accept(request, who, Kind.GENERATION))

    @routes.get("/edit")
    def edit(request: Request, who: Who, piece: str = "", tip: str = "") -> Response:
        values = bench(who, piece, tip)
        if piece and values["current"] is None:
            values["lost"] = True
        if wants_fragment(request):
            return fragment("bench", **values)
        return page(request, "edit", **values)

    def bench(who: Caller, piece: str, tip: str) -> dict[str, Any]:
        owner = who.owner
        chain = chain_of(studio, owner, piece, tip)
        pieces = [each for each in (*earlier(who, Kind.GENERATION, 30), *earlier(who, Kind.EDIT, 30)) if each.audio]
        pieces.sort(key=lambda each: (each.kept is not None, each.created), reverse=True)
        known = sorted({style for each in studio.releases("generator") for style in each.manifest.classes})
        fields = controls(EditRequest, {}, {"method": METHODS, "restyle": ["", *known]})
        return {
            "current": studio.made(piece, owner),
            "before": chain.before,
            "steps": chain.steps,
            "tip": chain.tip,
            "piece": piece,
            "pieces": pieces[:MOST_PIECES],
            "lost": False,
            "releases": studio.releases("editor", "generator"),
            "fields": dict(sorted(fields.items(), key=lambda each: each[0] == LEARNED)),
            "learned": LEARNED,
            "megabytes": studio.settings.limits.largest_upload,
            "longest": studio.settings.limits.longest_seconds,
            "hours": studio.settings.engine.keep_hours,
        }

    @routes.post("/edit")
    async def change(request: Request, who: Who) -> Response:
        return await answer(request, await accept(request, who, Kind.EDIT), "edit_card")

    @routes.get("/edit/{job}/card")
    def follow(job: str, who: Who) -> Response:
        row = studio.jobs.find(job, who.owner)
        view = None if row is None else studio.view(row)
        if view is None or not view.audio:
            return fragment("edit_card", job=view, found=None, hours=studio.settings.engine.keep_hours)
        piece = f"{job}/0"
        place = {"HX-Retarget": "#bench", "HX-Reswap": "outerHTML", "HX-Push-Url": f"/edit?piece={piece}"}
        return fragment("bench", place, **bench(who, piece, piece))

    @routes.get("/recognise")
    def recognise(request: Request, who: Who, model: str = "") -> Response:
        return jobs_page(
            request,
            "recognise",
            earlier(who, Kind.CLASSIFICATION),
            releases=studio.releases("style"),
            chosen=model,
            fields=controls(ClassificationRequest, {"over_time": True}, {}),
        )

    @routes.get("/recognise/rows")
    def rows(who: Who) -> Response:
        return fragment("rows", jobs=earlier(who, Kind.CLASSIFICATION))

    @routes.get("/recognise/styles.csv")
    def table(who: Who) -> Response:
        text = _table(earlier(who, Kind.CLASSIFICATION, MOST_ROWS))
        return Response(
            text, media_type="text/csv", headers={"Content-Disposition": 'attachment; filename="styles.csv"'}
        )

    @routes.post("/recognise")
    async def classify(request: Request, who: Who) -> Response:
        await accept(request, who, Kind.CLASSIFICATION)
        if not wants_fragment(request):
            return RedirectResponse("/recognise", 303)
        found = await run_in_threadpool(earlier, who, Kind.CLASSIFICATION)
        return fragment("rows_in", jobs=found)

    @routes.get("/origin")
    def origin(request: Request, who: Who) -> Response:
        return jobs_page(request, "origin", earlier(who, Kind.INSPECTION))

    @routes.post("/origin")
    async def inspect(request: Request, who: Who) -> Response:
        return await answer(request, await accept(request, who, Kind.INSPECTION))

    return routes


def _styles(releases: list[Shelved], chosen: str | None) -> list[str]:
    """The styles of the chosen release, or of the first one."""
    found = next((each for each in releases if each.name == chosen), releases[0] if releases else None)
    return [] if found is None else list(found.manifest.classes)


def _table(jobs: list[JobView]) -> str:
    """Recognised styles as CSV: a row for each file, and one for each of its parts."""
    done = [each for each in jobs if each.state == State.DONE and each.result is not None]
    known = sorted({style for each in done for style in (each.result or {})["probabilities"]})
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["file", "model", "start", "end", "style", *known])
    for job in done:
        result = job.result or {}
        whole = {"start": "", "end": "", "probabilities": result["probabilities"]}
        for part in (whole, *result["segments"]):
            likely = max(part["probabilities"], key=part["probabilities"].__getitem__)
            shares = [f"{part['probabilities'].get(style, 0):.4f}" for style in known]
            writer.writerow([_harmless(job.file or ""), job.model, part["start"], part["end"], likely, *shares])
    return text.getvalue()


def _harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
