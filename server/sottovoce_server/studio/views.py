"""Answers of the HTTP interface, as described on the OpenAPI page."""

import time
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from sottovoce.release.versions import version_of
from sottovoce.release.words import privacy_in_words, start_in_words
from sottovoce_server.studio.jobs import Jobs
from sottovoce_server.studio.schema import Job, Kind, Output, State
from sottovoce_server.studio.shelf import Shelved


class AudioView(BaseModel):
    """A piece of audio that a job made."""

    number: int
    seconds: float
    sample_rate: int = Field(description="Hz")
    seed: int | None
    watermark_score: float | None = Field(description="Standard deviations; null if the piece carries no watermark.")
    sha256: dict[str, str] = Field(description="Digest of the file by format.")
    url: str = Field(description="Add `?format=wav` for a WAV file.")


class JobView(BaseModel):
    """A job."""

    id: str
    kind: Kind
    state: State
    model: str | None
    file: str | None = Field(description="Name of the uploaded file, or the style of the piece that was generated.")
    source: str | None = Field(description="The piece of an earlier job that it reads, as ID/NUMBER.")
    parameters: dict[str, Any]
    created: datetime
    started: datetime | None
    ended: datetime | None
    ahead: int | None = Field(description="Jobs before this one, while it waits.")
    progress: float = Field(description="Fraction of the work that is done.", ge=0, le=1)
    seconds_left: float | None = Field(description="Estimate, while it runs.")
    result: dict[str, Any] | None = Field(description="What was found, or facts about what was made.")
    audio: list[AudioView] = Field(description="What was made.")
    kept: int | None = Field(description="Number of the piece that was chosen on the page.")
    problem: str | None
    hint: str | None


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobView]


class ReleaseView(BaseModel):
    """A release that can be used."""

    name: str
    version: str
    task: str
    family: str
    styles: list[str]
    created: str
    labels: int = Field(description="Number of labels that trained it.")
    rounds: int
    parameters: int
    privacy: list[str] = Field(description="The privacy statement in words.")
    started_from: str
    cosigners: list[str]
    vouched: bool = Field(description="Whether it is signed with a key that the operator trusts.")
    checks: list[str] = Field(description="What was verified.")
    digest: str = Field(description="SHA-256 of the manifest.")


class ReleaseList(BaseModel):
    """Releases, newest first."""

    models: list[ReleaseView]


class OutputView(BaseModel):
    """An entry of the log."""

    time: datetime
    job: str
    number: int
    kind: Kind
    model: str | None
    digest: str | None = Field(description="SHA-256 of the model's manifest.")
    parameters: dict[str, Any]
    seed: int | None
    token: str | None = Field(description="The token's name.")
    audio: str | None = Field(description="SHA-256 of the audio file.")
    seconds: float


class Log(BaseModel):
    """Entries of the log, oldest first."""

    outputs: list[OutputView]


class WebhookKey(BaseModel):
    """The studio's key."""

    key: str = Field(description="`whpk_` and the 32 bytes in base64.")


def job_view(job: Job, jobs: Jobs) -> JobView:
    """The answer for a job."""
    result = dict(job.result or {})
    result.pop("claim", None)
    made = result.pop("audio", None) if job.kind in (Kind.GENERATION, Kind.EDIT) else None
    fraction = job.done / job.total if job.total else 0.0
    return JobView(
        id=job.id,
        kind=Kind(job.kind),
        state=State(job.state),
        model=job.model,
        file=job.file,
        source=job.source,
        parameters=job.parameters,
        created=_time(job.created),
        started=None if job.started is None else _time(job.started),
        ended=None if job.ended is None else _time(job.ended),
        ahead=jobs.ahead(job) if job.state == State.QUEUED else None,
        progress=1.0 if job.state == State.DONE else min(fraction, 1.0),
        seconds_left=_left(job, fraction),
        result=result or None,
        audio=[AudioView(**each, url=f"/v1/jobs/{job.id}/audio/{each['number']}") for each in made or []],
        kept=job.kept,
        problem=job.problem if job.state in (State.FAILED, State.QUEUED) else None,
        hint=job.hint,
    )


def release_view(found: Shelved) -> ReleaseView:
    """The answer for a release."""
    manifest = found.manifest
    return ReleaseView(
        name=manifest.name,
        version=version_of(manifest),
        task=manifest.task,
        family=manifest.family,
        styles=list(manifest.classes),
        created=manifest.created,
        labels=manifest.labels,
        rounds=manifest.rounds,
        parameters=manifest.parameters,
        privacy=privacy_in_words(manifest.privacy),
        started_from=start_in_words(manifest),
        cosigners=list(found.cosigners),
        vouched=found.vouched,
        checks=list(found.checks),
        digest=found.digest,
    )


def output_view(row: Output) -> OutputView:
    """The answer for an entry of the log."""
    return OutputView.model_validate(row, from_attributes=True)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _left(job: Job, fraction: float) -> float | None:
    if job.state != State.RUNNING or job.started is None or fraction <= 0:
        return None
    return round((time.time() - job.started) * (1 - min(fraction, 1.0)) / fraction, 1)
