"""The studio's workers: processes that are replaced when they die, hang or outgrow their memory."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import msgspec

from sottovoce_server.studio.jobs import Jobs
from sottovoce_server.studio.settings import Settings
from sottovoce_server.studio.worker import JOBS, OUT_OF_MEMORY, Order

LOOK_SECONDS = 0.2
"""Time between two looks at the workers, seconds."""
SWEEP_SECONDS = 60.0
"""Time between two deletions of what is no longer kept, seconds."""
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
    stopped_for: str = ""
    blameless: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class LocalEngine:
    """Starts, wakes, watches and replaces the workers of one machine.

    Args:
        settings: the studio's configuration.
        jobs: the queue.
        url: the database, if it is not the file in the studio's folder.
    """

    def __init__(self, settings: Settings, jobs: Jobs, url: str | None = None) -> None:
        self._settings = settings
        self._jobs = jobs
        self._url = url
        self._places = [_Worker() for _ in range(settings.engine.processes)]
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="studio-engine", daemon=True)

    def start(self) -> None:
        """Take up what an earlier studio left, and start the workers."""
        self._jobs.recover()
        self._sweep()
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
                self._jobs.lost(place.name, DIED, strike=False)

    def wake(self) -> None:
        """Tell the workers that there may be a job."""
        for place in self._places:
            _tell(place.process)

    def stop_worker(self, name: str) -> None:
        """Stop a worker whose job was cancelled; another takes its place."""
        for place in self._places:
            with place.lock:
                if place.name == name and place.process is not None:
                    place.blameless = True  # it may have taken another job meanwhile
                    place.process.kill()

    @property
    def processes(self) -> list[int]:
        """Process ids of the workers."""
        return [place.process.pid for place in self._places if place.process is not None]

    def _begin(self, place: _Worker) -> None:
        with place.lock:
            place.name, place.started = secrets.token_hex(16), time.monotonic()
            place.stopped_for, place.blameless = "", False
            order = Order(
                place.name,
                str(self._settings.data),
                self._url,
                self._settings.engine.memory,
                self._settings.limits,
            )
            place.process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-P", "-m", "sottovoce_server.studio.worker", json.dumps(msgspec.to_builtins(order))],
                stdin=subprocess.PIPE,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                process_group=0,  # Ctrl-C is the studio's to handle
            )

    def _watch(self) -> None:
        swept = time.monotonic()
        while not self._over.wait(LOOK_SECONDS):
            self._stop_late()
            for place in self._places:
                self._replace_if_dead(place)
            if time.monotonic() - swept > SWEEP_SECONDS:
                swept = time.monotonic()
                self._sweep()

    def _stop_late(self) -> None:
        oldest = time.time() - self._settings.engine.job_seconds
        late = {job.worker for job in self._jobs.running() if (job.started or 0.0) < oldest}
        for place in self._places:
            with place.lock:
                if place.name in late and place.process is not None:
                    place.stopped_for = HUNG
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
        reason = place.stopped_for or (OUTGREW if status == OUT_OF_MEMORY else DIED)
        self._jobs.lost(place.name, reason, strike=not place.blameless)
        young = not place.blameless and time.monotonic() - place.started < STEADY_SECONDS
        place.process = None
        if not young:
            self._begin(place)

    def _sweep(self) -> None:
        """Delete the audio of jobs that ended long ago, and uploads that no job uses."""
        for job in self._jobs.forget(time.time() - 3600 * self._settings.engine.keep_hours):
            shutil.rmtree(self._jobs.folder(job), ignore_errors=True)
        known = self._jobs.known()
        for folder in (self._settings.data / JOBS).glob("*"):
            if folder.name not in known and time.time() - folder.stat().st_mtime > SWEEP_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _tell(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None and process.stdin is not None:
        try:
            os.write(process.stdin.fileno(), b"\n")
        except (OSError, ValueError):  # it is dead, or its pipe is full of the same message
            return
