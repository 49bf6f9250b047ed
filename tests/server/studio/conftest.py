import itertools
from contextlib import closing

import pytest
from sqlalchemy import delete

from sottovoce_server.database import STUDIO, Database, DataLocation
from sottovoce_server.studio.jobs import Asked, Jobs
from sottovoce_server.studio.schema import Job, Kind, Output
from sottovoce_server.studio.settings import Limits

WIDE = Limits(jobs_at_a_time=1_000_000, seconds_per_day=1e12)


class Queue(Jobs):
    """A queue, and what tests put into it."""

    def __init__(self, database, folder):
        super().__init__(database, folder)
        self.database = database
        self.numbers = itertools.count()

    def put(self, owner="", limits=WIDE, **fields):
        """A new job."""
        number = next(self.numbers)
        fields = {"kind": Kind.INSPECTION, "parameters": {}, "fingerprint": f"{number:064x}"} | fields
        return self.submit(f"{number:032x}", Asked(owner=owner, **fields), limits)

    def now(self, job):
        """A job as it is now."""
        return self.find(job.id, job.owner)

    def logged(self, job=None):
        """The log's rows, or those of a job."""
        with self.database.session() as session:
            rows = session.query(Output).order_by(Output.id)
            return list(rows if job is None else rows.filter_by(job=job.id))

    def clear(self):
        with self.database.session() as session:
            session.execute(delete(Job))
            session.execute(delete(Output))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """A studio's database, for many tests."""
    with closing(Database(DataLocation(tmp_path_factory.mktemp("studio"), None, STUDIO))) as database:
        yield database


@pytest.fixture
def queue(migrated, tmp_path):
    """An empty queue."""
    queue = Queue(migrated, tmp_path / "jobs")
    queue.clear()
    return queue
