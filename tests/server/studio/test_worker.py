"""What a worker makes of each way in which a job can end; the processes themselves are in `test_engine.py`."""

import errno

import pytest

from sottovoce.errors import ConfigurationError
from sottovoce_server.registry import tokens
from sottovoce_server.studio import worker
from sottovoce_server.studio.jobs import Made
from sottovoce_server.studio.schema import State
from sottovoce_server.studio.worker import FULL, NO_MEMORY, OUT_OF_MEMORY


class Raises:
    """Work that writes a part of its result, then raises."""

    def __init__(self, error):
        self.error = error

    def carry_out(self, job, folder, progress):
        (folder / f"{job.claim}-0.flac").write_bytes(b"half of it")
        progress(1, 2)
        if self.error is not None:
            raise self.error
        return {"claim": job.claim}, [Made(2.0, 7, "0" * 64)]


@pytest.fixture
def do(queue, monkeypatch):
    """Do a job whose work ends so; returns it, and the files that are left."""
    ended = []
    monkeypatch.setattr(worker.os, "_exit", ended.append)

    def carry_out(error, *, owner="", meanwhile=lambda _: None):
        job = queue.put(owner=owner)
        queue.folder(job.id).mkdir(parents=True)
        (queue.folder(job.id) / "upload.wav").write_bytes(b"RIFF")
        taken = queue.claim("w")
        meanwhile(taken)
        worker._do(taken, queue, Raises(error), queue.database)
        return queue.now(job), sorted(each.name for each in queue.folder(job.id).glob("*"))

    carry_out.ended = ended
    return carry_out


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ConfigurationError("It is silent."), "It is silent."),
        (OSError(errno.ENOSPC, "No space left on device"), FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), FULL),
        (PermissionError(errno.EACCES, "Permission denied", "/a/secret/path"), "System error: Permission denied."),
    ],
)
def test_a_failure_is_said_in_words_and_nothing_of_the_job_is_left(do, error, problem):
    job, left = do(error)
    assert (job.state, job.problem, left) == (State.FAILED, problem, [])
    assert do.ended == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] not enough memory: you tried to …")])
def test_a_job_that_needs_too_much_memory_fails_at_once_and_its_worker_goes(do, error):
    job, left = do(error)
    assert (job.state, job.problem, left) == (State.FAILED, NO_MEMORY, [])
    assert do.ended == [OUT_OF_MEMORY]


def test_what_nobody_expects_ends_the_worker_and_not_the_job(do, queue):
    with pytest.raises(KeyError):
        do(KeyError("a bug"))
    (job,) = queue.latest("", 10)
    assert (job.state, job.problem) == (State.RUNNING, None)


def test_a_result_is_logged_under_its_owners_name_and_the_upload_goes(do, queue):
    with queue.database.session() as session:
        token, _ = tokens.create(session, "ann", {tokens.Scope.USE}, None, 60)
    job, left = do(None, owner=token.id)
    assert (job.state, left) == (State.DONE, ["1-0.flac"])
    (entry,) = queue.logged(job)
    assert (entry.token, entry.owner, entry.seed, entry.seconds, entry.audio) == ("ann", token.id, 7, 2.0, "0" * 64)


def test_a_job_that_was_cancelled_meanwhile_is_not_logged(do, queue):
    job, _ = do(None, meanwhile=lambda taken: queue.cancel(taken.id, taken.owner))
    assert job.state == State.CANCELLED
    assert queue.logged() == []


def test_a_job_that_was_given_to_another_meanwhile_keeps_its_upload(do, queue):
    def lose(taken):
        queue.lost("w", "It died.")
        queue.claim("another")

    job, left = do(ConfigurationError("It is silent."), meanwhile=lose)
    assert (job.state, job.worker) == (State.RUNNING, "another")
    assert "upload.wav" in left
