"""The studio's work on a Ray cluster: each job is a task that runs once, in a process that keeps its releases loaded.

All nodes need the same PostgreSQL database, and the studio's folder on a disk that they share.
"""

import os
import secrets
import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import ray
from ray.exceptions import RayError

from sottovoce_server.studio.engine import DIED, HUNG, give_up, sweep, watch
from sottovoce_server.studio.jobs import ANY, Jobs
from sottovoce_server.studio.settings import Settings
from sottovoce_server.studio.worker import Bench, Order

NAMESPACE = "sottovoce-studio"


@dataclass
class _Task:
    """A job that the cluster carries out."""

    worker: str
    started: float
    stopped_for: str = DIED
    blamed: str | None = ANY


class RayEngine:
    """Gives jobs to a Ray cluster, as many at a time as it has cores, and takes back those of lost processes and nodes.

    Args:
        settings: the studio's configuration.
        jobs: the queue.
        url: the PostgreSQL database.
        address: address of the cluster; None starts one on this machine.
    """

    def __init__(self, settings: Settings, jobs: Jobs, url: str, address: str | None = None) -> None:
        self._settings = settings
        self._jobs = jobs
        self._address = address
        self._tasks: dict[Any, _Task] = {}
        self._over = threading.Event()
        self._lock = threading.Lock()
        order = Order("", str(settings.data), url, settings.engine.memory, settings.limits)
        self._order = msgspec.json.encode(order)
        self._watching = threading.Thread(
            target=watch, args=(self._look, self._over, settings, jobs), name="studio-ray", daemon=True
        )

    def start(self) -> None:
        """Join the cluster, take up what an earlier studio left, and begin."""
        os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default, which any other work starves
        ray.init(
            self._address,
            num_cpus=None if self._address else self._settings.engine.processes,
            namespace=NAMESPACE,
            include_dashboard=False if self._address is None else None,
            log_to_driver=False,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        )
        self._jobs.recover()
        sweep(self._settings, self._jobs)
        self._watching.start()

    def stop(self) -> None:
        """Stop all tasks; their jobs return to the queue."""
        self._over.set()
        self._watching.join()
        for reference, task in self._tasks.items():
            ray.cancel(reference, force=True)
            self._jobs.lost(task.worker, DIED, blamed=None)
        ray.shutdown()

    def wake(self) -> None:
        """The queue is looked at several times a second anyway."""

    def stop_worker(self, name: str) -> None:
        """Stop the task whose job was cancelled."""
        with self._lock:
            for reference, task in self._tasks.items():
                if task.worker == name:
                    task.blamed = None
                    ray.cancel(reference, force=True)

    def _look(self) -> None:
        self._begin()
        self._end()
        self._stop_late()

    def _begin(self) -> None:
        """Start as many tasks as there are waiting jobs and free cores."""
        free = int(ray.cluster_resources().get("CPU", 0)) - len(self._tasks)
        for _ in range(min(free, self._jobs.waiting())):
            worker = secrets.token_hex(16)
            reference = _take.remote(self._order, worker)
            with self._lock:
                self._tasks[reference] = _Task(worker, time.monotonic())

    def _end(self) -> None:
        """Take note of tasks that ended, in whatever way."""
        if not self._tasks:
            return
        ended, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        for reference in ended:
            task = self._tasks[reference]
            try:
                ray.get(reference)
            except RayError:
                give_up(self._jobs, task.worker, task.stopped_for, task.blamed)
            with self._lock:
                del self._tasks[reference]

    def _stop_late(self) -> None:
        oldest = time.monotonic() - self._settings.engine.job_seconds
        with self._lock:
            for reference, task in self._tasks.items():
                if task.started < oldest:
                    task.stopped_for = HUNG
                    ray.cancel(reference, force=True)


@cache
def _bench(order: bytes) -> Bench:
    return Bench(msgspec.json.decode(order, type=Order))


def _take_one(order: bytes, worker: str) -> None:
    """Carry out a job in one of the cluster's processes, which keeps what it has loaded for the next one."""
    _bench(order).take(worker)


_take: Any = ray.remote(num_cpus=1, max_retries=0)(_take_one)
