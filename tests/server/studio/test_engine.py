"""Real workers with trivial work: they die, hang, outgrow their memory and are killed, and every job ends once."""

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.server.studio.conftest import Queue

import sottovoce_server.studio.engine as engine_module
from sottovoce_server.database import STUDIO, Database, DataLocation
from sottovoce_server.studio.engine import HUNG, LocalEngine, sweep
from sottovoce_server.studio.schema import OPEN, Job, State
from sottovoce_server.studio.settings import EngineLimits, Settings
from sottovoce_server.studio.worker import NO_MEMORY

ROOT = Path(__file__).parents[3]


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start an engine with one worker on this test's folder, at the end of which it stops."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(engine_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(engine_module, "STEADY_SECONDS", 0.1)
    database = Database(DataLocation(tmp_path, None, STUDIO))
    queue = Queue(database, tmp_path / "jobs")
    started = []

    def begin(**limits):
        settings = Settings(data=tmp_path, engine=EngineLimits(**{"workers": 1, "memory": 1024} | limits))
        started.append(LocalEngine(settings, queue, program="benchmarks.studio_worker"))
        started[-1].start()
        return started[-1]

    begin.queue = queue
    with closing(database):
        yield begin
        for engine in started:
            engine.stop()


def put(queue, **parameters):
    """A job with an upload."""
    job = queue.put(parameters=parameters)
    queue.folder(job.id).mkdir(parents=True)
    (queue.folder(job.id) / "upload.wav").write_bytes(b"RIFF")
    return job


@pytest.fixture
def ended(start, eventually):
    """Wait until jobs have ended; return them."""

    def wait(*jobs):
        eventually(lambda: all(start.queue.now(job).state not in OPEN for job in jobs), "the jobs end")
        return [start.queue.now(job) for job in jobs]

    return wait


def begun(folder):
    """How often each job was begun."""
    return Counter(line.split()[0] for file in (folder / "begun").iterdir() for line in file.read_text().splitlines())


def left(queue, job):
    """The files that are left of a job."""
    return sorted(each.name for each in queue.folder(job.id).glob("*"))


def test_what_goes_wrong_fails_in_words_and_the_next_job_is_done(start, ended, tmp_path):
    queue = start.queue
    jobs = [put(queue, **does) for does in ({"does": "raise"}, {"does": "hang"}, {"does": "write", "bytes": 9})]
    jobs.append(put(queue, does="grow"))
    with queue.database.session() as session:  # one worker each, to save time
        session.execute(update(Job).values(strikes=1))
    start(job_seconds=1)
    raised, hung, done, grown = ended(*jobs)
    assert [each.state for each in (raised, hung, done, grown)] == [State.FAILED] * 2 + [State.DONE, State.FAILED]
    assert "died" in raised.problem
    assert "KeyError" not in raised.problem + raised.hint
    assert hung.problem == HUNG
    assert "2 times" in hung.hint
    assert grown.problem == NO_MEMORY
    assert begun(tmp_path) == dict.fromkeys((job.id for job in jobs), 1)
    assert [left(queue, job) for job in jobs] == [[], [], ["1-0.flac"], []]


def test_a_cancelled_job_really_stops_and_another_outlives_its_studio_which_was_killed(
    start, ended, eventually, tmp_path
):
    """A worker sees that its studio is gone by the end of its input, which the kernel closes, and ends."""
    queue = start.queue
    job, after = (put(queue, does="hang") for _ in range(2))
    engine = start()
    eventually(lambda: (tmp_path / "begun").is_dir() and begun(tmp_path)[job.id], "it runs")
    (process,) = engine.processes
    engine.stop_worker(queue.cancel(job.id, ""))
    eventually(lambda: begun(tmp_path)[after.id], "the next one runs")
    assert engine.processes != [process]
    assert (queue.now(job).state, begun(tmp_path)[job.id]) == (State.CANCELLED, 1)

    engine._over.set()
    engine._watching.join()
    (place,) = engine._places
    place.process.stdin.close()
    assert place.process.wait(60) == 0
    assert queue.now(after).state == State.RUNNING
    with queue.database.session() as session:
        session.get(Job, after.number).parameters = {}
    start()
    (found,) = ended(after)
    assert (found.state, found.claim, found.strikes) == (State.DONE, 2, 0)


@pytest.fixture
def idle(start, tmp_path):
    """An engine without workers."""
    engine = LocalEngine(Settings(data=tmp_path), start.queue)
    engine._places = []
    return engine


def test_a_job_that_an_earlier_studios_worker_took_at_its_end_is_taken_again(start, idle):
    job = put(start.queue)
    idle._jobs.recover()
    start.queue.claim("a worker of an earlier studio")
    idle._look()
    found = start.queue.now(job)
    assert (found.state, found.worker, found.strikes) == (State.QUEUED, None, 0)


def test_workers_are_looked_after_again_when_the_database_has_failed(idle, monkeypatch, caplog):
    failures = iter([OSError(28, "No space left on device"), RuntimeError("locked")])
    looked = threading.Event()

    def look():
        for error in failures:
            raise error
        looked.set()

    monkeypatch.setattr(idle, "_look", look)
    idle._watching.start()
    assert looked.wait(60)
    idle.stop()
    assert caplog.text.count("could not be looked after") == 2


def test_a_hundred_jobs_whose_workers_are_killed_are_done_once_each(start, eventually, tmp_path):
    queue = start.queue
    jobs = [put(queue) for _ in range(100)]
    engine = start(workers=2)
    dice = random.Random(1)
    for share in (5, 40):
        eventually(lambda share=share: queue.unended() <= 100 - share, "jobs are done")
        os.kill(dice.choice(engine.processes), signal.SIGKILL)
    eventually(lambda: not queue.unended(), "all jobs end")
    assert {each.state for each in queue.latest("", 200)} == {State.DONE}
    assert Counter(each.job for each in queue.logged()) == dict.fromkeys((job.id for job in jobs), 1)
    assert begun(tmp_path).total() <= 100 + 2


def test_what_is_no_longer_kept_is_deleted(start, tmp_path):
    queue = start.queue
    done, waiting, failed, forgotten = (put(queue) for _ in range(4))
    for _ in range(2):
        (queue.folder(done.id) / f"{_ + 1}-0.flac").write_bytes(b"fLaC")
    queue.claim("a")
    queue.lost("a", "It died.", blamed=None)
    queue.end(queue.claim("a"), {"claim": 2}, [], None)
    settings = Settings(data=tmp_path)
    queue.claim("b")
    queue.fail(queue.now(waiting), "no")
    queue.claim("b")
    arriving = queue.folder("f" * 32)
    arriving.mkdir()
    old = queue.folder("e" * 32)
    old.mkdir()
    os.utime(old, (0, 0))
    sweep(settings, queue)
    assert left(queue, done) == ["2-0.flac"]
    assert left(queue, waiting) == []
    assert left(queue, failed) == left(queue, forgotten) == ["upload.wav"]
    assert (arriving.exists(), old.exists()) == (True, False)
    with queue.database.session() as session:
        session.get(type(done), done.number).ended = time.time() - 25 * 3600
    sweep(settings, queue)
    assert queue.now(done) is None
    assert not queue.folder(done.id).exists()
