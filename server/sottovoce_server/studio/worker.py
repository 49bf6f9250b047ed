"""A worker process: takes jobs from the queue one at a time, and keeps releases loaded.

Its standard input belongs to the studio: a byte says that there may be a job, and its end that the studio is gone, even
if it was killed. Memory beyond the limit ends an allocation, not the machine.
"""

import gc
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from sottovoce.errors import SottovoceError
from sottovoce.files import clear_asides, is_full
from sottovoce_server.database import STUDIO, Database, DataLocation
from sottovoce_server.registry.schema import Token
from sottovoce_server.studio.job_files import keep_only
from sottovoce_server.studio.jobs import Jobs, Made
from sottovoce_server.studio.schema import Job
from sottovoce_server.studio.settings import Limits

if TYPE_CHECKING:
    from sottovoce_server.studio.work import Work

JOBS = "jobs"
"""Folder of the jobs' files, in the data folder."""
MIB = 1 << 20
IDLE_SECONDS = 1.0
"""Longest wait before the queue is looked at again without being asked, seconds."""
PROGRESS_SECONDS = 0.25
"""Shortest time between two records of a job's progress, seconds."""
FULL = "The studio's disk is full."
NO_MEMORY = "This needs more memory than a job may use."
PROGRAM = "sottovoce_server.studio.worker"
"""Module that a worker runs."""
OUT_OF_MEMORY = 3
"""Exit status of a worker that has reached its memory limit."""


class Order(msgspec.Struct, frozen=True):
    """The settings that a worker gets on its command line.

    Args:
        name: the worker's name, which no other worker ever has.
        data: the studio's folder.
        url: its database, if it is not the file in the folder.
        memory: its memory limit, MiB.
        limits: limits of the studio's users.
    """

    name: str
    data: str
    url: str | None
    memory: int
    limits: Limits


class Carries(Protocol):
    """What carries out jobs."""

    def carry_out(
        self, job: Job, folder: Path, progress: Callable[[int, int], None]
    ) -> tuple[dict[str, Any], list[Made]]:
        """Do a job: its result, and its outputs for the log."""


class _Studio:
    """The studio that started this worker, at the other end of its standard input."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def wait(self) -> None:
        """Wait until there may be a job."""
        self._asked.wait(IDLE_SECONDS)
        self._asked.clear()

    def _listen(self) -> None:
        while os.read(sys.stdin.fileno(), 64):
            self._asked.set()
        os._exit(0)  # whatever it was doing: the job is taken up again when a studio starts


class Bench:
    """A process's place of work: the queue, and releases that stay loaded.

    Args:
        order: the worker's settings. Its memory limit holds for the process from now on.
        work_of: makes what carries out jobs; default: with the releases.
    """

    def __init__(self, order: Order, work_of: Callable[[Order], Carries] | None = None) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (order.memory * MIB, order.memory * MIB))
        self._database = Database(DataLocation(Path(order.data), order.url, STUDIO))
        self._jobs = Jobs(self._database, Path(order.data) / JOBS)
        self._work = (work_of or _with_releases)(order)
        gc.freeze()  # what was imported stays, and need not be looked at after each job

    def take(self, worker: str) -> bool:
        """Take a job and carry it out; False if none waits."""
        job = self._jobs.claim(worker)
        if job is not None:
            _do(job, self._jobs, self._work, self._database)
        return job is not None


def main(order: Order, work_of: Callable[[Order], Carries] | None = None) -> None:
    """Work until the studio is gone.

    Args:
        order: its settings.
        work_of: makes what carries out jobs; default: with the releases.
    """
    studio = _Studio()
    bench = Bench(order, work_of)
    while True:
        if not bench.take(order.name):
            studio.wait()


def _with_releases(order: Order) -> "Work":
    import torch

    from sottovoce_server.studio.work import Warm, Work

    torch.set_num_threads(1)  # one job a core
    return Work(order.limits, Warm())


def _do(job: Job, jobs: Jobs, work: Carries, database: Database) -> None:
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            jobs.progress(job, done, total)

    folder = jobs.folder(job.id)
    try:
        result, made = work.carry_out(job, folder, progress)
        with database.session() as session:
            token = session.get(Token, job.owner) if job.owner else None
        if jobs.end(job, result, made, None if token is None else token.name):
            keep_only(folder, job.claim)
    except SottovoceError as error:
        _fail(job, jobs, error.message, error.hint)
    except MemoryError:
        _out_of_memory(job, jobs)
    except RuntimeError as error:
        if "not enough memory" not in str(error):  # torch's own words
            raise
        _out_of_memory(job, jobs)
    except OSError as error:
        _fail(job, jobs, FULL if is_full(error) else f"System error: {error.strerror}.")
    finally:
        clear_asides(folder)
        gc.collect()


def _fail(job: Job, jobs: Jobs, problem: str, hint: str | None = None) -> None:
    if jobs.fail(job, problem, hint):
        keep_only(jobs.folder(job.id), 0)


def _out_of_memory(job: Job, jobs: Jobs) -> None:
    _fail(job, jobs, NO_MEMORY, "Try less audio.")
    os._exit(OUT_OF_MEMORY)  # what is fragmented or half-built goes with the process


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Order))
