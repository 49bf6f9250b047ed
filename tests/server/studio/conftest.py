import itertools
import shutil
from contextlib import closing
from functools import partial

import pytest
import soundfile
from sqlalchemy import delete
from starlette.testclient import TestClient
from tests.cli import conftest as cli

from sottovoce.errors import SottovoceError
from sottovoce.files import sha256_file
from sottovoce_server.database import STUDIO, Database, DataLocation
from sottovoce_server.registry import tokens
from sottovoce_server.studio.api import make_app
from sottovoce_server.studio.job_files import FORMATS, piece_name
from sottovoce_server.studio.jobs import Asked, Jobs, Made
from sottovoce_server.studio.schema import OPEN, Job, Kind, Output
from sottovoce_server.studio.settings import Limits, Settings
from sottovoce_server.studio.shelf import Shelf
from sottovoce_server.studio.webhooks import Webhooks

coordinator, agreement, provenance = cli.coordinator, cli.agreement, cli.provenance
release, maker = cli.release, cli.maker
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

    def unended(self):
        """Number of jobs that have not ended."""
        with self.database.session() as session:
            return session.query(Job).filter(Job.state.in_(OPEN)).count()

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


class InProcess:
    """An engine that does jobs within the request that wakes it, by `work`; with None, they wait."""

    def __init__(self, queue):
        self.queue = queue
        self.stopped = []
        self.work = made_up

    def wake(self):
        while self.work is not None and (job := self.queue.claim("w")) is not None:
            self.do(job)

    def do(self, job):
        """Do a job that was claimed."""
        folder = self.queue.folder(job.id)
        try:
            self.queue.end(job, *(self.work or made_up)(job, folder), None)
        except SottovoceError as error:
            self.queue.fail(job, error.message, error.hint)

    def stop_worker(self, name):
        self.stopped.append(name)


def made_up(job, folder):
    """A result without a model: pieces of a generation or an edit are half a second of a tone."""
    if job.kind not in (Kind.GENERATION, Kind.EDIT):
        return {"kind": job.kind}, [Made(1.0)]
    pieces = []
    for number in range(job.parameters.get("count", 1)):
        files = {form: folder / piece_name(job.claim, number, form) for form in FORMATS}
        for file in files.values():
            soundfile.write(file, cli.tone(number, 0.5), cli.RATE)
        digests = {form[1:]: sha256_file(file) for form, file in files.items()}
        facts = {"seconds": 0.5, "sample_rate": cli.RATE, "seed": 1, "watermark_score": None}
        pieces.append({"number": number, **facts, "sha256": digests})
    return {"claim": job.claim, "audio": pieces}, [Made(0.5, 1, each["sha256"]["flac"]) for each in pieces]


class Studio:
    """The service in this process, and its callers."""

    def __init__(self, queue, shelf, *, limits=WIDE, webhooks=(), **options):
        self.queue, self.shelf = queue, shelf
        self.engine = InProcess(queue)
        self.settings = Settings(data=queue.folder("").parent, limits=limits, **options)
        self.settings.data.mkdir(exist_ok=True)
        self.webhooks = Webhooks(queue, webhooks, self.settings.data)
        self.app = make_app(queue.database, queue, shelf, self.engine, self.settings, self.webhooks)
        self.client = TestClient(self.app, "http://localhost:8480", raise_server_exceptions=False)

    def __call__(self, method, path, token=None, *, code=None, **request):
        headers = dict(request.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        answer = self.client.request(method, path, headers=headers, **request)
        assert code in (None, answer.status_code), answer.text
        assert answer.status_code in (code, 503, 507) or answer.status_code < 500, answer.text
        return answer

    def inspect(self, token=None, *, data=b"RIFF", name="a.wav", code=202, **request):
        """Upload a file, in the cheapest kind of job."""
        return self("POST", "/v1/inspections", token, files={"file": (name, data)}, code=code, **request)

    def generate(self, token=None, *, code=202, headers=None, **fields):
        body = {"model": "isles-maker", "style": "reel", "seconds": 0.5} | fields
        return self("POST", "/v1/generations", token, json=body, headers=headers or {}, code=code)

    def token(self, name="ann", lifetime=3600):
        with self.queue.database.session() as session:
            return tokens.create(session, name, {tokens.Scope.USE}, None, lifetime)[1]


@pytest.fixture(scope="session")
def shelf(release, maker):
    """A style release and a generator, both untrained."""
    return Shelf([release, maker])


@pytest.fixture
def make_studio(queue, shelf):
    return partial(Studio, queue, shelf)


@pytest.fixture(scope="session")
def open_studio(migrated, shelf, tmp_path_factory):
    """A studio without tokens, for many tests."""
    return Studio(Queue(migrated, tmp_path_factory.mktemp("open") / "jobs"), shelf, hosts=frozenset({"localhost"}))


@pytest.fixture(scope="session")
def closed_studio(migrated, shelf, tmp_path_factory):
    """A studio whose callers all need a token, for many tests."""
    return Studio(Queue(migrated, tmp_path_factory.mktemp("closed") / "jobs"), shelf, tokens=True)


def emptied(studio):
    studio.queue.clear()
    shutil.rmtree(studio.queue.folder(""), ignore_errors=True)
    studio.engine.work, studio.engine.stopped = made_up, []
    studio.client.cookies.clear()
    return studio


@pytest.fixture
def studio(open_studio):
    return emptied(open_studio)


@pytest.fixture
def members(closed_studio):
    return emptied(closed_studio)
