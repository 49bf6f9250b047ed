"""The registry's HTTP interface."""

from contextlib import suppress
from threading import Lock
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi_offline import FastAPIOffline
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect

from sottovoce.release.check import LARGEST_SIGNATURES
from sottovoce.release.manifest import LOG_FILE, MANIFEST_FILE, SIGNATURE_FILE
from sottovoce.version import __version__
from sottovoce_server.database import Database
from sottovoce_server.ports.file_response import file_response
from sottovoce_server.ports.health import add_health
from sottovoce_server.registry import audit_log, listing, schema
from sottovoce_server.registry.access import Access
from sottovoce_server.registry.audit_log import Action
from sottovoce_server.registry.file_store import Store
from sottovoce_server.registry.problems import described, install
from sottovoce_server.registry.publishing import Publishing
from sottovoce_server.registry.rate_limit import Limiter
from sottovoce_server.registry.responses import (
    NAME,
    Announced,
    Begun,
    Cosigned,
    FileName,
    ModelList,
    ModelName,
    ModelVersion,
    ModelView,
    Received,
    ReleaseView,
    Shown,
    UploadId,
    model_view,
    release_view,
)
from sottovoce_server.registry.settings import UPLOAD_SECONDS, Settings
from sottovoce_server.registry.tokens import Caller, Scope

DESCRIPTION = """
Published models of record labels that train together without sharing their audio. Every file is identified by its
SHA-256 in a manifest signed by the coordinator: verify it against a key that you obtained out of band, as `sottovoce
release pull` does. This service is trusted with availability and access control only.
"""
PAGE = 100
JSON_FILES = (MANIFEST_FILE, SIGNATURE_FILE, LOG_FILE)


def make_app(database: Database, store: Store, settings: Settings) -> FastAPI:
    """The app over a database and a folder."""
    access = Access(database, Limiter(settings.requests, settings.refusals))
    publishing = Publishing(database, store, settings, Lock())
    publishing.sweep()
    app = FastAPIOffline(title="Sottovoce registry", version=__version__, description=DESCRIPTION, redoc_url=None)
    install(app)
    app.include_router(_reading(database, store, access))
    app.include_router(_publishing(database, store, access, publishing))
    app.include_router(_changing(database, access, publishing))
    return app


def _reading(database: Database, store: Store, access: Access) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["download"])
    anybody = Depends(access.caller)

    add_health(routes, database, described())

    @routes.get("/models", responses=described())
    def models(
        caller: Annotated[Caller, anybody],
        after: Annotated[str, Query(pattern=f"^$|{NAME}", description="Last name of the previous page.")] = "",
        limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    ) -> ModelList:
        """The models that the caller may see."""
        with database.session() as session:
            found = listing.models(session, caller, after, limit + 1)
        page = [model_view(each) for each in found[:limit]]
        return ModelList(models=page, next=page[-1].name if len(found) > limit else None)

    @routes.get("/models/{name}", responses=described(404))
    def model(caller: Annotated[Caller, anybody], name: ModelName) -> ModelView:
        """A model and its versions."""
        with database.session() as session:
            found = listing.model(session, caller, name)
        if found is None:
            raise _not_found()
        return model_view(found)

    def hand_out(request: Request, caller: Caller, name: str, version: str, file: str) -> Response:
        with database.session() as session:
            found = _visible(session, caller, name, version)
            entry = listing.file(found, file)
            if entry is None:
                raise _not_found()
            kind = "application/json" if entry.name in JSON_FILES else "application/octet-stream"
            answer = file_response(request, store.blob(entry.sha256), entry.sha256, kind, vary="Authorization")
            if request.method == "GET" and answer.status_code != 304:
                audit_log.record(session, Action.DOWNLOAD, caller, f"{name}@{version} {file}")
        return answer

    handed_out = described(400, 404, 410) | {
        200: {"description": "The file's bytes.", "content": {"application/octet-stream": {}, "application/json": {}}},
        206: {"description": "A part of the file."},
        304: {"description": "The caller already has this content."},
        416: {"description": "The range is not satisfiable.", "content": {"text/plain": {}}},
    }

    @routes.head("/models/{name}/{version}", responses=handed_out, response_class=Response)
    @routes.get("/models/{name}/{version}", responses=handed_out, response_class=Response)
    def manifest(
        request: Request, caller: Annotated[Caller, anybody], name: ModelName, version: ModelVersion
    ) -> Response:
        """A release's manifest: exactly the signed bytes."""
        return hand_out(request, caller, name, version, MANIFEST_FILE)

    @routes.head("/models/{name}/{version}/files/{file}", responses=handed_out, response_class=Response)
    @routes.get("/models/{name}/{version}/files/{file}", responses=handed_out, response_class=Response)
    def file(
        request: Request, caller: Annotated[Caller, anybody], name: ModelName, version: ModelVersion, file: FileName
    ) -> Response:
        """A file of a release, or a part of it."""
        return hand_out(request, caller, name, version, file)

    return routes


def _publishing(database: Database, store: Store, access: Access, publishing: Publishing) -> APIRouter:
    routes = APIRouter(prefix="/v1/uploads", tags=["publish"])
    coordinator = Depends(access.holder_of(Scope.PUBLISH))

    @routes.post("", status_code=201, responses=described(400, 403, 409, 413))
    def begin(caller: Annotated[Caller, coordinator], announced: Announced) -> Begun:
        """Begin to upload a release. Nothing is visible before it is published."""
        if not caller.covers(announced.name):
            raise HTTPException(403, "The token is limited to other models.")
        return Begun(upload=publishing.begin(caller, announced.name, announced.version), seconds=UPLOAD_SECONDS)

    @routes.put(
        "/{upload}/files/{file}",
        responses=described(400, 403, 404, 408, 413, 507),
        openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
    )
    async def put(
        request: Request, caller: Annotated[Caller, coordinator], upload: UploadId, file: FileName
    ) -> Received:
        """Upload a file. It is stored completely or not at all, and may be sent again."""
        await run_in_threadpool(publishing.expect, caller, upload)
        chunks = (chunk async for chunk in request.stream())
        with suppress(ClientDisconnect):
            return Received(sha256=await store.receive(upload, file, chunks))
        raise HTTPException(400, "The connection closed before the whole file arrived.")

    @routes.post("/{upload}/publish", status_code=201, responses=described(403, 404, 409, 507))
    def publish(caller: Annotated[Caller, coordinator], upload: UploadId) -> ReleaseView:
        """Verify an upload against the coordinator's pinned key, and publish it permanently."""
        release = publishing.publish(caller, upload)
        with database.session() as session:
            return release_view(session.get_one(schema.Release, release.id))

    @routes.delete("/{upload}", status_code=204, responses=described(403, 404))
    def give_up(caller: Annotated[Caller, coordinator], upload: UploadId) -> None:
        """Abandon an upload."""
        publishing.give_up(caller, upload)

    return routes


def _changing(database: Database, access: Access, publishing: Publishing) -> APIRouter:
    routes = APIRouter(prefix="/v1/models", tags=["publish"])
    coordinator = Depends(access.holder_of(Scope.PUBLISH))
    label = Depends(access.holder_of(Scope.COSIGN))

    @routes.post(
        "/{name}/{version}/signatures",
        responses=described(403, 404, 410, 413),
        openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
    )
    async def cosign(
        request: Request, caller: Annotated[Caller, label], name: ModelName, version: ModelVersion
    ) -> Cosigned:
        """Add labels' signatures, in the format of `manifest.sig`. Existing ones are never replaced or removed."""
        data = await request.body()

        def add() -> int:
            with database.session() as session:
                release = _visible(session, caller, name, version)
            return publishing.cosign(caller, release, data[:LARGEST_SIGNATURES])

        return Cosigned(added=await run_in_threadpool(add))

    @routes.put("/{name}/visibility", responses=described(400, 403, 404, 413))
    def show(caller: Annotated[Caller, coordinator], name: ModelName, shown: Shown) -> Shown:
        """Change who may see a model: everyone, any token, or only tokens that name it."""
        with database.session() as session:
            if not caller.covers(name) or listing.model(session, caller, name) is None:
                raise _not_found()
            listing.set_visibility(session, name, shown.visibility)
            audit_log.record(session, Action.VISIBILITY, caller, f"{name} {shown.visibility}")
        return shown

    return routes


def _visible(session: Session, caller: Caller, name: str, version: str) -> schema.Release:
    found = listing.release(session, caller, name, version)
    if found is None:
        raise _not_found()
    if found.withdrawn is not None:
        raise HTTPException(410, "The release has been withdrawn.")
    return found


def _not_found() -> HTTPException:
    return HTTPException(404, "Not found, or you have no access.")
