"""The studio's tables. Times are seconds since 1970 (UTC); audio is in the data folder, by job."""

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite auto-numbers rows only for INTEGER


class Base(DeclarativeBase):
    """All tables, besides those of tokens and of refused calls, which are the registry's."""


class Kind(StrEnum):
    """Kinds of work."""

    CLASSIFICATION = "classification"
    GENERATION = "generation"
    EDIT = "edit"
    INSPECTION = "inspection"


class State(StrEnum):
    """States of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (State.QUEUED, State.RUNNING)


class Job(Base):
    """A job: one request, from its arrival until its audio is deleted.

    `claim` counts the times that a worker took it: only the last one may end it. `strikes` counts the workers that it
    cost. `sources` are the releases that it uses, `{role: [folder, digest]}`. `source` is the piece that it edits, as
    `ID/NUMBER`, unless that was uploaded; `kept` is the number of the piece that its owner chose.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("owner", "idempotency_key"),
        Index("jobs_by_state", "state", "number"),
        Index("jobs_by_owner", "owner", "state"),
        Index("jobs_by_webhook", "webhook_due"),
    )

    number: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(32), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default=State.QUEUED)
    owner: Mapped[str] = mapped_column(String(16))  # id of a token, or empty: this machine
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    fingerprint: Mapped[str] = mapped_column(String(64))
    model: Mapped[str | None] = mapped_column(String(80))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    sources: Mapped[dict[str, list[str]]] = mapped_column(JSON)
    file: Mapped[str | None] = mapped_column(String(255))  # name of the uploaded file, for people
    source: Mapped[str | None] = mapped_column(String(40))
    kept: Mapped[int | None] = mapped_column(Integer)
    webhook: Mapped[str | None] = mapped_column(String(2000))
    webhook_due: Mapped[float | None] = mapped_column(Float)  # of the next call, once the job has ended; null: none
    webhook_calls: Mapped[int] = mapped_column(Integer, default=0)
    seconds: Mapped[float] = mapped_column(Float)  # of audio that it will make; 0 if it reads some
    created: Mapped[float] = mapped_column(Float)
    started: Mapped[float | None] = mapped_column(Float)
    ended: Mapped[float | None] = mapped_column(Float)
    worker: Mapped[str | None] = mapped_column(String(32))
    claim: Mapped[int] = mapped_column(Integer, default=0)
    strikes: Mapped[int] = mapped_column(Integer, default=0)
    done: Mapped[int] = mapped_column(BigInteger, default=0)
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    problem: Mapped[str | None] = mapped_column(String(1000))
    hint: Mapped[str | None] = mapped_column(String(1000))


class Output(Base):
    """An entry of the log: one result. Entries are only appended, and end with the retention that the operator set."""

    __tablename__ = "outputs"
    __table_args__ = (Index("outputs_by_time", "time"), UniqueConstraint("job", "number"))

    id: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=True)
    time: Mapped[float] = mapped_column(Float)
    job: Mapped[str] = mapped_column(String(32))
    number: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(16))
    owner: Mapped[str] = mapped_column(String(16), index=True)
    token: Mapped[str | None] = mapped_column(String(63))  # the token's name
    model: Mapped[str | None] = mapped_column(String(80))
    digest: Mapped[str | None] = mapped_column(String(64))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    seed: Mapped[int | None] = mapped_column(BigInteger)
    audio: Mapped[str | None] = mapped_column(String(64))  # SHA-256 of the audio file
    seconds: Mapped[float] = mapped_column(Float)
