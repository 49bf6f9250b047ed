"""The studio's jobs on a Ray cluster of two nodes on one machine, of which one is killed during work."""

import time
from contextlib import closing

import pytest
import ray
import soundfile
from ray.cluster_utils import Cluster
from tests.cli.conftest import RATE, tone
from tests.server.registry import test_postgres
from tests.server.studio.conftest import WIDE

from sottovoce_server.database import STUDIO, Database, DataLocation
from sottovoce_server.studio.job_files import UPLOAD
from sottovoce_server.studio.jobs import Asked, Jobs, new_id
from sottovoce_server.studio.ray_engine import RayEngine
from sottovoce_server.studio.schema import Kind, State
from sottovoce_server.studio.settings import EngineLimits, Settings
from sottovoce_server.studio.worker import JOBS

postgres = test_postgres.postgres
JOBS_OF_EACH = 6
PATIENCE_SECONDS = 300

pytestmark = pytest.mark.deployment


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("RAY_worker_niceness", "0")
    for name, value in (("num_heartbeats_timeout", "10"), ("health_check_failure_threshold", "2")):
        monkeypatch.setenv(f"RAY_{name}", value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_no_job_is_lost_when_a_node_dies_in_the_middle(postgres, cluster, release, tmp_path):
    second = cluster.add_node(num_cpus=1)
    url = postgres.new()
    with closing(Database(DataLocation(tmp_path, url, STUDIO))) as database:
        jobs = Jobs(database, tmp_path / JOBS)
        sent = [put(jobs, release) for _ in range(JOBS_OF_EACH)]
        settings = Settings(data=tmp_path, limits=WIDE, engine=EngineLimits(workers=1))
        engine = RayEngine(settings, jobs, url, cluster.address)
        engine.start()
        try:
            until(lambda: len(jobs.running()) == 2 or len(ended(jobs, sent)) > 1)
            cluster.remove_node(second, allow_graceful=False)
            sent += [put(jobs, release) for _ in range(JOBS_OF_EACH)]
            until(lambda: len(ended(jobs, sent)) == len(sent))
        finally:
            engine.stop()
        found = ended(jobs, sent)
        assert {job.state for job in found} == {State.DONE}, [job.problem for job in found]
        with database.session() as session:
            from sottovoce_server.studio.outputs import entries

            assert sorted(each.job for each in entries(session)) == sorted(sent)


def put(jobs, release):
    """A track to classify."""
    job = new_id()
    jobs.folder(job).mkdir(parents=True)
    soundfile.write(jobs.folder(job) / f"{UPLOAD}.wav", tone(1, 9.0), RATE)
    from sottovoce.release.load import load

    sources = {"model": [str(release), load(release).digest]}
    jobs.submit(job, Asked(Kind.CLASSIFICATION, "", {}, job * 2, sources, "isles-style"), WIDE)
    return job


def ended(jobs, ids):
    found = [jobs.find(job, "") for job in ids]
    return [job for job in found if job.state not in (State.QUEUED, State.RUNNING)]


def until(holds):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
