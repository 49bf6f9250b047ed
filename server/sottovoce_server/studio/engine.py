"""The studio's workers: processes that are replaced when they die, hang or outgrow their memory."""

import json
import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from sottovoce_server.studio.job_files import keep_only
from sottovoce_server.studio.jobs import ANY, Jobs
from sottovoce_server.studio.schema import Job
from sottovoce_server.studio.settings import Settings
from sottovoce_server.studio.worker import JOBS, OUT_OF_MEMORY, PROGRAM, Order

LOOK_SECONDS = 0.2
"""Time between two looks at the workers, seconds."""
SWEEP_SECONDS = 60.0
"""Time between two deletions of what is no longer kept, seconds."""
ARRIVAL_SECONDS = 3600.0
"""Longest time between the arrival of a job's first file and the job, seconds."""
LOG = logging.getLogger(__name__)
STEADY_SECONDS = 5.0
"""A worker that dies younger is replaced after this time, so that a broken installation does not spin."""
DIED = "The process that did this died."
OUTGREW = "The process that did this needed more memory than is allowed."
HUNG = "This took longer than is allowed."
"""What happened to a job's worker, as a sentence for its owner."""


@dataclass
class _Worker:
    """A place for one worker, and the process in it."""

    name: str = ""
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    stopped_for: str = DIED
    blamed: str | None = ANY
    lock: threading.Lock = field(default_factory=threading.Lock)


class Engine(Protocol):
    """Carries out the jobs in the queue."""

    def start(self) -> None:
        """Take up what an earlier studio left, and begin."""

    def stop(self) -> None:
        """Stop; running jobs return to the queue."""

    def wake(self) -> None:
        """Look at the queue now."""

    def stop_worker(self, name: str) -> None:
        """Stop a worker whose job was cancelled."""


class LocalEngine:
    """Starts, wakes, watches and replaces the workers of one machine.

    Args:
        settings: the studio's configuration.
        jobs: the queue.
        url: the database, if it is not the file in the studio's folder.
        program: module that a worker runs.
    """

    def __init__(self, settings: Settings, jobs: Jobs, url: str | None = None, program: str = PROGRAM) -> None:
        self._program = program
        self._settings = settings
        self._jobs = jobs
        self._url = url
        self._places = [_Worker() for _ in range(settings.engine.processes)]
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="studio-engine", daemon=True)

    def start(self) -> None:
        """Take up what an earlier studio left, and start the workers."""
        self._jobs.recover()
        sweep(self._settings, self._jobs)
        for place in self._places:
            self._begin(place)
        self._watching.start()

    def stop(self) -> None:
        """Stop the workers; their jobs return to the queue."""
        self._over.set()
        self._watching.join()
        for place in self._places:
            if place.process is not None:
                place.process.kill()
        for place in self._places:
            if place.process is not None:
                place.process.wait()
                self._jobs.lost(place.name, DIED, blamed=None)

    def wake(self) -> None:
        """Tell the workers that there may be a job."""
        for place in self._places:
            _tell(place.process)

    def stop_worker(self, name: str) -> None:
        """Stop a worker whose job was cancelled; another takes its place."""
        for place in self._places:
            with place.lock:
                if place.name == name and place.process is not None:
                    place.blamed = None  # it may have taken another job meanwhile
                    place.process.kill()

    @property
    def processes(self) -> list[int]:
        """Process ids of the workers."""
        return [place.process.pid for place in self._places if place.process is not None]

    def _begin(self, place: _Worker) -> None:
        with place.lock:
            place.name, place.started = secrets.token_hex(16), time.monotonic()
            place.stopped_for, place.blamed = DIED, ANY
            order = Order(
                place.name,
                str(self._settings.data),
                self._url,
                self._settings.engine.memory,
                self._settings.limits,
            )
            place.process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", self._program, json.dumps(msgspec.to_builtins(order))],
                stdin=subprocess.PIPE,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                process_group=0,  # Ctrl-C is the studio's to handle
            )

    def _watch(self) -> None:
        watch(self._look, self._over, self._settings, self._jobs)

    def _look(self) -> None:
        running = self._jobs.running()
        names = {place.name for place in self._places}
        for job in running:
            if job.worker is not None and job.worker not in names:  # an earlier studio's, which took it at its end
                self._jobs.lost(job.worker, DIED, blamed=None)
        self._stop_late(running)
        for place in self._places:
            self._replace_if_dead(place)

    def _stop_late(self, running: list[Job]) -> None:
        oldest = time.time() - self._settings.engine.job_seconds
        late = {job.worker: job.id for job in running if (job.started or 0.0) < oldest}
        for place in self._places:
            with place.lock:
                if place.name in late and place.process is not None and place.blamed == ANY:
                    place.stopped_for, place.blamed = HUNG, late[place.name]
                    place.process.kill()

    def _replace_if_dead(self, place: _Worker) -> None:
        process = place.process
        if process is None:
            if time.monotonic() - place.started > STEADY_SECONDS:
                self._begin(place)
            return
        status = process.poll()
        if status is None:
            return
        reason = OUTGREW if status == OUT_OF_MEMORY else place.stopped_for
        give_up(self._jobs, place.name, reason, place.blamed)
        young = place.blamed is not None and time.monotonic() - place.started < STEADY_SECONDS
        place.process = None
        if not young:
            self._begin(place)


def give_up(jobs: Jobs, worker: str, reason: str, blamed: str | None) -> None:
    """Take back the job of a worker that is gone; see `Jobs.lost`."""
    for job in jobs.lost(worker, reason, blamed=blamed):
        keep_only(jobs.folder(job), 0)


def watch(look: Callable[[], object], over: threading.Event, settings: Settings, jobs: Jobs) -> None:
    """Look after the workers again and again, and delete what is no longer kept.

    Args:
        look: looks after them once.
        over: set when the studio ends.
        settings: the studio's configuration.
        jobs: the queue.
    """
    swept = time.monotonic()
    pause = LOOK_SECONDS
    while not over.wait(pause):
        pause = LOOK_SECONDS
        try:
            look()
            if time.monotonic() - swept > SWEEP_SECONDS:
                swept = time.monotonic()
                sweep(settings, jobs)
        except Exception:  # a full disk, say: without this thread, dead workers would stay dead afterwards
            pause = STEADY_SECONDS
            LOG.exception("The workers could not be looked after; next attempt in %g s.", pause)


def sweep(settings: Settings, jobs: Jobs) -> None:
    """Delete the audio of jobs that ended long ago, and what a killed process left of others."""
    for job in jobs.forget(time.time() - 3600 * settings.engine.keep_hours):
        keep_only(jobs.folder(job), 0)
    folders = list((settings.data / JOBS).glob("*"))
    kept = jobs.kept()
    for folder in folders:
        claim = kept.get(folder.name, 0)
        if claim is not None and (folder.name in kept or _age(folder) > ARRIVAL_SECONDS):
            keep_only(folder, claim)


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _tell(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None and process.stdin is not None:
        try:
            os.write(process.stdin.fileno(), b"\n")
        except (OSError, ValueError):  # it is dead, or its pipe is full of the same message
            return
