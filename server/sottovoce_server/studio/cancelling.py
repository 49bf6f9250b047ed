"""Cancelling a job: in the queue, at its worker, and in its folder."""

from sottovoce_server.studio.engine import Engine
from sottovoce_server.studio.job_files import keep_only
from sottovoce_server.studio.jobs import Jobs
from sottovoce_server.studio.schema import State


def cancel(jobs: Jobs, engine: Engine, job: str, owner: str) -> None:
    """Stop a job, and delete its files. One that has ended stays as it is.

    Args:
        jobs: the queue.
        engine: whose worker may be busy with it.
        job: the job's id.
        owner: its owner.
    """
    worker = jobs.cancel(job, owner)
    if worker is not None:
        engine.stop_worker(worker)
    found = jobs.find(job, owner)
    if found is not None and found.state == State.CANCELLED:
        keep_only(jobs.folder(job), 0)
