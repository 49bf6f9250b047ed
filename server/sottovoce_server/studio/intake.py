"""From an HTTP request to a job: its fields, its file, and the releases that it names."""

import hashlib
import json
import re
import shutil
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.studio.requests import EditRequest, GenerationRequest, asked
from sottovoce_server.registry.tokens import Caller
from sottovoce_server.studio.job_files import UPLOAD, piece_name
from sottovoce_server.studio.jobs import Asked, Jobs, Refused, new_id
from sottovoce_server.studio.kinds import MOST_PIECES, SOURCE, Work
from sottovoce_server.studio.schema import Job, State
from sottovoce_server.studio.settings import Limits
from sottovoce_server.studio.shelf import Shelf, Shelved
from sottovoce_server.studio.webhooks import Webhooks

FILE = "file"
"""Name of the form's field that holds the file."""
MOST_FIELDS = 200
LARGEST_FIELD = 64 << 10
LARGEST_JSON = 64 << 10
LONGEST_KEY = 255
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}")
_EXTRA = ("model", "judge", "source", "webhook")


class Intake:
    """Accepts jobs.

    Args:
        jobs: the queue.
        shelf: the releases.
        limits: limits of the studio's users.
        webhooks: says which may be called.
    """

    def __init__(self, jobs: Jobs, shelf: Shelf, limits: Limits, webhooks: Webhooks) -> None:
        self._webhooks = webhooks
        self._jobs = jobs
        self._shelf = shelf
        self._limits = limits

    async def accept(self, request: Request, caller: Caller, work: Work) -> Job:
        """Put the job that a request describes in the queue.

        Raises:
            RequestValidationError: a field is missing, unknown or out of range.
            ConfigurationError, ReleaseError: the request cannot be carried out.
            Refused: a limit is reached, or the file is missing.
        """
        key = request.headers.get("idempotency-key")
        if key is not None and not 0 < len(key) <= LONGEST_KEY:
            raise Refused(f"An idempotency key has 1 to {LONGEST_KEY} characters.")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
            try:
                async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=LARGEST_FIELD) as form:
                    file = form.get(FILE)
                    body = _validated(work.body, _fields(form, work.body))
                    upload = file if isinstance(file, UploadFile) and file.filename else None  # or an empty field
                    return await run_in_threadpool(self._accept, caller, work, body, upload, key)
            except FormParserError:
                raise Refused("The form cannot be read.", "Send multipart/form-data (RFC 7578).", status=400) from None
        body = _validated(work.body, await _json(request))
        return await run_in_threadpool(self._accept, caller, work, body, None, key)

    def _accept(self, caller: Caller, work: Work, body: BaseModel, upload: UploadFile | None, key: str | None) -> Job:
        owner = caller.owner
        values = body.model_dump()
        extra = {name: values.pop(name, None) for name in _EXTRA}
        if extra["webhook"] is not None:
            self._webhooks.expect_allowed(extra["webhook"])
        names = {field.name for field in fields(work.declaration)}
        request = work.declaration(**{name: value for name, value in values.items() if name in names})
        sources = self._releases(work, extra, request)
        parameters = asked(request)
        digests = {role: each.digest for role, each in sources.items()}
        wanted = [work.kind, parameters, digests, extra["source"], extra["webhook"]]
        digest = hashlib.sha256(json.dumps(wanted).encode())
        job = new_id()
        folder = self._jobs.folder(job)
        try:
            name = self._receive(work, folder, owner, upload, extra["source"], digest)
            asked_for = Asked(
                work.kind,
                owner,
                parameters,
                digest.hexdigest(),
                {role: [str(each.folder), each.digest] for role, each in sources.items()},
                sources["model"].name if "model" in sources else None,
                _seconds(request),
                name,
                key,
                extra["webhook"],
                extra["source"],
            )
            found = self._jobs.repeated(owner, key, asked_for.fingerprint)
            found = found or self._jobs.submit(job, asked_for, self._limits)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if found.id != job:
            shutil.rmtree(folder, ignore_errors=True)
        return found

    def _releases(self, work: Work, extra: dict[str, Any], request: Any) -> dict[str, Shelved]:
        """The releases that a request names, by role.

        Raises:
            ReleaseError: one is unknown, or of another task.
            ConfigurationError: the request does not fit them.
        """
        found: dict[str, Shelved] = {}
        for role, tasks in (("model", work.tasks), ("judge", ("style",))):
            name = extra.get(role)
            if not name:
                continue
            release = self._shelf.find(name)
            if release is None:
                raise ReleaseError(f"There is no release for the {role} with this name.", hint="GET /v1/models")
            if release.manifest.task not in tasks:
                raise ReleaseError(
                    f"The {role} is a release for the task '{release.manifest.task}'; this needs {' or '.join(tasks)}."
                )
            found[role] = release
        if isinstance(request, GenerationRequest):
            _check_generation(request, found)
        if isinstance(request, EditRequest):
            try:
                request.parsed().expect_release(given="model" in found)
            except ConfigurationError as error:
                raise ConfigurationError(error.message, hint=_without_options(error.hint)) from None
        return found

    def _receive(
        self, work: Work, folder: Path, owner: str, upload: UploadFile | None, source: str | None, digest: Any
    ) -> str | None:
        """Store the file that a job needs; return its name for people."""
        if not work.uploads:
            if upload is not None:
                raise Refused("This needs no file.")
            folder.mkdir(parents=True, mode=0o700)
            return None
        if (upload is None) == (source is None):
            raise Refused("Send a file, or name a piece of an earlier job as its source.", "One of them, not both.")
        folder.mkdir(parents=True, mode=0o700)
        if upload is not None:
            name = Path((upload.filename or "audio").replace("\\", "/")).name[-100:] or "audio"
            ending = Path(name).suffix if _EXTENSION.fullmatch(Path(name).suffix) else ".audio"
            with (folder / f"{UPLOAD}{ending.lower()}").open("xb") as file:
                while block := upload.file.read(1 << 20):
                    digest.update(block)
                    file.write(block)
            return "".join(each if each.isprintable() else "�" for each in name)
        original, number = SOURCE.fullmatch(source or "").groups()  # type: ignore[union-attr]
        earlier = self._jobs.find(original, owner)
        if earlier is None or earlier.state != State.DONE or earlier.result is None:
            raise Refused("There is no such piece.", "It may have been deleted.", status=404)
        piece = self._jobs.folder(original) / piece_name(earlier.result.get("claim", 0), int(number), ".flac")
        if not piece.is_file():
            raise Refused("There is no such piece.", "It may have been deleted.", status=404)
        shutil.copyfile(piece, folder / f"{UPLOAD}.flac")
        return earlier.file or earlier.parameters.get("style")


def _check_generation(request: GenerationRequest, found: dict[str, Shelved]) -> None:
    if request.count > MOST_PIECES:
        raise ConfigurationError(f"At most {MOST_PIECES} pieces are made by one job.", hint="Send several requests.")
    if request.candidates is not None and "judge" not in found:
        raise ConfigurationError("Candidates need a judge.", hint="Name a style release as the judge.")
    for role, release in found.items():
        if request.style not in release.manifest.classes:
            raise ConfigurationError(
                f"The {role} does not know this style.", hint=f"Choose from {', '.join(release.manifest.classes)}."
            )


def _without_options(hint: str | None) -> str | None:
    """A hint of the command line for other users."""
    if hint is None:
        return None
    return {"Add --release DIR.": "Choose a model.", "Omit --release.": "Choose no model."}.get(
        hint, re.sub(r"--(\w[\w-]*)", lambda option: f"'{option[1].replace('-', '_')}'", hint)
    )


def _seconds(request: Any) -> float:
    return request.seconds * request.count if isinstance(request, GenerationRequest) else 0.0


def _validated(model: type[BaseModel], values: object) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from None


async def _json(request: Request) -> object:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > LARGEST_JSON:
            raise Refused("The body is too large.", status=413)
    try:
        return json.loads(data or b"{}")
    except (ValueError, RecursionError):
        raise Refused("The body is not JSON.", "Send JSON, or a multipart form with a file.", status=400) from None


def _fields(form: FormData, model: type[BaseModel]) -> dict[str, Any]:
    """A form's fields; empty ones are left out, repeated ones are lists."""
    found: dict[str, Any] = {}
    for name in form:
        if name == FILE:
            continue
        values = [value for value in form.getlist(name) if isinstance(value, str) and value != ""]
        field = model.model_fields.get(name)
        if values:
            found[name] = values if field is not None and _is_list(field.annotation) else values[-1]
    return found


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or (
        get_origin(annotation) is UnionType and any(_is_list(each) for each in get_args(annotation))
    )
