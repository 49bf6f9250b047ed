"""The studio's configuration: frozen values, checked when constructed."""

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from sottovoce.run.knobs import Knob, check

MIB = 1 << 20
DAY = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the studio's users: the same for each token.

    Raises:
        ConfigurationError: a number is out of range.
    """

    longest_seconds: Annotated[
        float, Knob("Longest piece of audio, in seconds.", unit="seconds", range="[1, 36000]")
    ] = 600.0
    seconds_per_day: Annotated[float, Knob("Seconds of audio per token and day.", unit="seconds", range="[1, ∞)")] = (
        36_000.0
    )
    jobs_at_a_time: Annotated[int, Knob("Jobs per token that wait or run.", unit="jobs", range="[1, ∞)")] = 100
    largest_upload: Annotated[int, Knob("Largest uploaded file, in MiB.", unit="MiB", range="[1, ∞)")] = 256
    requests: Annotated[int, Knob("Requests per minute allowed to one caller.", range="[1, ∞)")] = 3000
    refusals: Annotated[int, Knob("Wrong tokens per minute allowed from one address.", range="[1, ∞)")] = 30

    def __post_init__(self) -> None:
        check(self)

    @property
    def largest_upload_bytes(self) -> int:
        """Largest uploaded file, bytes."""
        return self.largest_upload * MIB


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """Limits of the processes that work.

    Raises:
        ConfigurationError: a number is out of range.
    """

    workers: Annotated[int | None, Knob("Worker processes.", range="[1, 1000]", unset="one a core")] = None
    job_seconds: Annotated[float, Knob("Longest time for one job, in seconds.", unit="seconds", range="[1, ∞)")] = (
        1800.0
    )
    memory: Annotated[int, Knob("Memory of one worker, in MiB.", unit="MiB", range="[1024, ∞)")] = 6144
    keep_hours: Annotated[float, Knob("Hours for which finished audio is kept.", unit="hours", range="(0, ∞)")] = 24.0

    def __post_init__(self) -> None:
        check(self)

    @property
    def processes(self) -> int:
        """Number of worker processes."""
        return self.workers or len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The studio's configuration.

    Args:
        data: folder of the studio's own data.
        limits: limits of its users.
        engine: limits of its workers.
        tokens: whether every caller needs a token; otherwise only this machine may call.
        hosts: names by which it may be addressed; empty: any.
    """

    data: Path
    limits: Limits = field(default_factory=Limits)
    engine: EngineLimits = field(default_factory=EngineLimits)
    tokens: bool = False
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class StudioRequest(EngineLimits, Limits):
    """Everything that a command line says about limits."""

    def __post_init__(self) -> None:
        EngineLimits.__post_init__(self)

    def limits(self) -> Limits:
        """The limits of users."""
        return Limits(**{each.name: getattr(self, each.name) for each in fields(Limits)})

    def engine_limits(self) -> EngineLimits:
        """The limits of workers."""
        return EngineLimits(**{each.name: getattr(self, each.name) for each in fields(EngineLimits)})
