"""The queue of jobs: every change of a job's state is one guarded update, so that no job is lost or ended twice.

    queued → running → done | failed          a worker takes a job, and ends it
    running → queued                          its worker died; once, then it fails
    queued | running → cancelled              its owner cancels it

Only the last worker that took a job may end it: `claim` counts the takings, and every update names the one it belongs
to.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from sottovoce_server.database import Database
from sottovoce_server.studio.schema import OPEN, Job, Kind, Output, State
from sottovoce_server.studio.settings import DAY, Limits

STRIKES = 2
"""Number of workers that a job may cost before it fails."""
MOST_CLAIMS = 10
"""Number of times that a job may be begun, if the studio was killed each time."""
WORE_OUT = "The studio ended during this, each time that it was tried."
ANY = "any"
"""Whatever job it was."""


class Refused(Exception):
    """A job is not accepted.

    Args:
        message: what is wrong.
        hint: what to do.
        status: HTTP status.
        wait: seconds after which it may be sent again; 0: never.
    """

    def __init__(self, message: str, hint: str | None = None, *, status: int = 422, wait: int = 0) -> None:
        super().__init__(message)
        self.message, self.hint, self.status, self.wait = message, hint, status, wait


@dataclass(frozen=True)
class Asked:
    """A job as requested.

    Args:
        kind: kind of work.
        owner: id of the caller's token; empty for this machine.
        parameters: the request's fields that differ from their defaults.
        fingerprint: digest of everything that was sent, which identifies a repeated request.
        sources: releases that it uses: folder and digest by role.
        model: name of the release, for people.
        seconds: seconds of audio that it will make; 0 if it reads some.
        file: name of the uploaded file, for people.
        key: the caller's idempotency key.
        webhook: URL to call when it ends.
        source: piece of an earlier job that it reads, as ID/NUMBER.
    """

    kind: Kind
    owner: str
    parameters: dict[str, Any]
    fingerprint: str
    sources: dict[str, list[str]] = field(default_factory=dict)
    model: str | None = None
    seconds: float = 0.0
    file: str | None = None
    key: str | None = None
    webhook: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Made:
    """One result of a job, for the log.

    Args:
        seconds: seconds of audio that were made or read.
        seed: seed with which it was made.
        audio: SHA-256 (hex) of the audio file.
    """

    seconds: float
    seed: int | None = None
    audio: str | None = None


class Jobs:
    """The queue.

    Args:
        database: its database.
        folder: folder of the jobs' files.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    def folder(self, job: str) -> Path:
        """Folder of a job's files."""
        return self._folder / job

    def repeated(self, owner: str, key: str | None, fingerprint: str) -> Job | None:
        """The job that was made by an earlier request with the same idempotency key; None if there is none.

        Raises:
            Refused: the key belongs to another request.
        """
        if key is None:
            return None
        with self._database.session() as session:
            found = session.scalar(select(Job).where(Job.owner == owner, Job.idempotency_key == key))
        if found is not None and found.fingerprint != fingerprint:
            raise Refused("The idempotency key was used for another request.", "Use a new key for each request.")
        return found

    def submit(self, job: str, asked: Asked, limits: Limits) -> Job:
        """Put a job in the queue, whose files are in its folder; a repeated request returns the first one's.

        Raises:
            Refused: a limit of the caller is reached.
        """
        try:
            with self._database.writing() as session:
                if (
                    session.get_bind().dialect.name == "postgresql"
                ):  # one after the other, or each counts without the rest
                    session.execute(select(func.pg_advisory_xact_lock(func.hashtext(asked.owner))))
                self._expect_within(session, asked, limits)
                row = Job(
                    id=job,
                    kind=asked.kind,
                    owner=asked.owner,
                    idempotency_key=asked.key,
                    fingerprint=asked.fingerprint,
                    model=asked.model,
                    parameters=asked.parameters,
                    sources=asked.sources,
                    file=asked.file,
                    source=asked.source,
                    webhook=asked.webhook,
                    webhook_due=None if asked.webhook is None else 0.0,
                    seconds=asked.seconds,
                    created=time.time(),
                    state=State.QUEUED,
                )
                session.add(row)
            return row
        except IntegrityError:  # the same request at the same time
            found = self.repeated(asked.owner, asked.key, asked.fingerprint)
            if found is None:
                raise
            return found

    def _expect_within(self, session: Session, asked: Asked, limits: Limits) -> None:
        if asked.seconds > limits.longest_seconds:
            raise Refused(
                f"{asked.seconds:g} seconds of audio are more than the {limits.longest_seconds:g} allowed for a job.",
                "Ask for less, or for several jobs.",
            )
        waiting = session.scalar(select(func.count()).where(Job.owner == asked.owner, Job.state.in_(OPEN))) or 0
        if waiting >= limits.jobs_at_a_time:
            raise Refused(
                f"{waiting} of your jobs are waiting or running, as many as are allowed.",
                "Wait for one to end, or cancel one.",
                status=429,
                wait=5,
            )
        since = time.time() - DAY
        used = session.scalar(
            select(func.coalesce(func.sum(Output.seconds), 0.0)).where(Output.owner == asked.owner, Output.time > since)
        )
        coming = session.scalar(
            select(func.coalesce(func.sum(Job.seconds), 0.0)).where(Job.owner == asked.owner, Job.state.in_(OPEN))
        )
        if (used or 0.0) + (coming or 0.0) + asked.seconds > limits.seconds_per_day:
            raise Refused(
                f"This would be more than {limits.seconds_per_day:g} seconds of audio within a day.",
                "Try again tomorrow, or ask the operator for more.",
                status=429,
                wait=3600,
            )

    def claim(self, worker: str) -> Job | None:
        """Take the oldest waiting job; None if there is none."""
        oldest = select(Job.number).where(Job.state == State.QUEUED).order_by(Job.number).limit(1)
        taken = (
            update(Job)
            .where(Job.number == oldest.with_for_update(skip_locked=True).scalar_subquery(), Job.state == State.QUEUED)
            .values(
                state=State.RUNNING, worker=worker, claim=Job.claim + 1, started=time.time(), done=0, total=0, hint=None
            )
            .returning(Job)
        )
        with self._database.session() as session:
            return session.scalars(taken).one_or_none()

    def progress(self, job: Job, done: int, total: int) -> None:
        """Record how much of a running job is done."""
        with self._database.session() as session:
            session.execute(update(Job).where(_held(job)).values(done=done, total=total))

    def end(self, job: Job, result: dict[str, Any], made: Sequence[Made], token: str | None) -> bool:
        """End a job with its result, and log its outputs; False if it is no longer its worker's.

        Args:
            job: the job as it was taken.
            result: its result, as JSON values.
            made: its outputs.
            token: name of the owner's token.
        """
        now = time.time()
        with self._database.session() as session:
            ended = update(Job).where(_held(job)).values(state=State.DONE, ended=now, result=result, problem=None)
            if _changed(session, ended) != 1:
                return False
            digest = job.sources.get("model", [None, None])[1]
            session.add_all(
                Output(
                    time=now,
                    job=job.id,
                    number=number,
                    kind=job.kind,
                    owner=job.owner,
                    token=token,
                    model=job.model,
                    digest=digest,
                    parameters=job.parameters,
                    seed=each.seed,
                    audio=each.audio,
                    seconds=each.seconds,
                )
                for number, each in enumerate(made)
            )
            return True

    def fail(self, job: Job, problem: str, hint: str | None = None) -> bool:
        """End a job without a result; False if it is no longer its worker's."""
        values = {"state": State.FAILED, "ended": time.time(), "problem": problem[:1000], "hint": hint}
        with self._database.session() as session:
            return _changed(session, update(Job).where(_held(job)).values(**values)) == 1

    def lost(self, worker: str, reason: str, *, blamed: str | None = ANY) -> list[str]:
        """Return the job of a worker that is gone to the queue, or fail it if it has cost too many workers.

        Args:
            worker: the worker.
            reason: what happened to it, as a sentence.
            blamed: id of the job that it may be due to; None: no job's.

        Returns:
            Ids of the jobs that failed.
        """
        held = select(Job).where(Job.worker == worker, Job.state == State.RUNNING).with_for_update()
        failed = []
        with self._database.writing() as session:
            for job in session.scalars(held):
                job.strikes += blamed in (ANY, job.id)
                if job.strikes < STRIKES:
                    job.state, job.worker, job.started = State.QUEUED, None, None
                else:
                    job.state, job.ended, job.problem = State.FAILED, time.time(), reason
                    job.hint = f"It was tried {job.strikes} times. Try less audio, or another file."
                    failed.append(job.id)
        return failed

    def recover(self) -> None:
        """Return all running jobs to the queue. Only when no worker runs: when the studio starts.

        A job that was begun very often fails instead: it may be what ends the machine.
        """
        running = update(Job).where(Job.state == State.RUNNING)
        ended = {"ended": time.time(), "problem": WORE_OUT, "hint": "Try less audio, or another file."}
        with self._database.session() as session:
            session.execute(running.where(Job.claim >= MOST_CLAIMS).values(state=State.FAILED, **ended))
            session.execute(running.values(state=State.QUEUED, worker=None, started=None))

    def cancel(self, job: str, owner: str) -> str | None:
        """Cancel a job; return the worker that must be stopped, if any. A job that has ended stays as it is."""
        with self._database.writing() as session:
            found = session.scalar(select(Job).where(Job.id == job, Job.owner == owner).with_for_update())
            if found is None or found.state not in OPEN:
                return None
            worker = found.worker if found.state == State.RUNNING else None
            found.state, found.ended = State.CANCELLED, time.time()
            return worker

    def keep(self, job: str, owner: str, number: int | None) -> None:
        """Record which of a job's pieces its owner keeps; None: no longer any."""
        with self._database.session() as session:
            session.execute(update(Job).where(Job.id == job, Job.owner == owner).values(kept=number))

    def find(self, job: str, owner: str) -> Job | None:
        """A caller's job, or None."""
        with self._database.session() as session:
            return session.scalar(select(Job).where(Job.id == job, Job.owner == owner))

    def latest(self, owner: str, limit: int, kind: Kind | None = None) -> list[Job]:
        """A caller's jobs, newest first."""
        wanted = select(Job).where(Job.owner == owner).order_by(Job.number.desc()).limit(limit)
        with self._database.session() as session:
            return list(session.scalars(wanted if kind is None else wanted.where(Job.kind == kind)))

    def ahead(self, job: Job) -> int:
        """Number of jobs that are before a waiting one."""
        before = select(func.count()).where(Job.state == State.QUEUED, Job.number < job.number)
        with self._database.session() as session:
            return session.scalar(before) or 0

    def waiting(self) -> int:
        """Number of jobs that wait."""
        with self._database.session() as session:
            return session.scalar(select(func.count()).where(Job.state == State.QUEUED)) or 0

    def running(self) -> list[Job]:
        """All running jobs."""
        with self._database.session() as session:
            return list(session.scalars(select(Job).where(Job.state == State.RUNNING)))

    def owed(self, now: float, most: int) -> list[Job]:
        """Ended jobs whose webhook is to be called now."""
        due = select(Job).where(Job.webhook_due <= now, Job.state.not_in(OPEN)).order_by(Job.webhook_due).limit(most)
        with self._database.session() as session:
            return list(session.scalars(due))

    def called(self, job: Job, due: float | None) -> None:
        """Count a call of a job's webhook; the next one is due then, or never."""
        next_call = update(Job).where(Job.id == job.id).values(webhook_due=due, webhook_calls=Job.webhook_calls + 1)
        with self._database.session() as session:
            session.execute(next_call)

    def forget(self, before: float) -> list[str]:
        """Delete the jobs that ended before a time; return their ids, whose folders may go."""
        old = delete(Job).where(Job.ended < before, Job.state.not_in(OPEN)).returning(Job.id)
        with self._database.session() as session:
            return list(session.scalars(old))

    def kept(self) -> dict[str, int | None]:
        """What may be in each job's folder: everything (None), or only what this claim of it made; 0: nothing."""
        with self._database.session() as session:
            rows = session.execute(select(Job.id, Job.state, Job.claim))
            return {job: None if state in OPEN else claim if state == State.DONE else 0 for job, state, claim in rows}


def new_id() -> str:
    """A new job's id: 128 random bits, so that it cannot be guessed."""
    return secrets.token_hex(16)


def _held(job: Job) -> ColumnElement[bool]:
    """The row of a job, as long as the worker that took it may change it."""
    return (Job.id == job.id) & (Job.state == State.RUNNING) & (Job.claim == job.claim) & (Job.worker == job.worker)


def _changed(session: Session, statement: Any) -> int:
    return int(session.execute(statement).rowcount)  # type: ignore[attr-defined]
