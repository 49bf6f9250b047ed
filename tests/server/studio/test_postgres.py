"""The studio's queue on PostgreSQL: everything that `test_jobs.py` says about it, and what differs."""

from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData
from tests.server.registry import test_postgres
from tests.server.studio.test_jobs import *  # noqa: F403 - its tests are collected here, too

from sottovoce_server.database import STUDIO, Database, DataLocation
from sottovoce_server.registry.schema import Base as Registry
from sottovoce_server.studio.schema import Base

postgres = test_postgres.postgres
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def migrated(postgres, tmp_path_factory):
    with closing(Database(DataLocation(tmp_path_factory.mktemp("postgres"), postgres.new(), STUDIO))) as database:
        yield database


def test_it_is_postgresql_that_answers(queue):
    with queue.database.session() as session:
        assert "PostgreSQL" in session.connection().exec_driver_sql("SELECT version()").scalar_one()


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path, postgres, kind):
    expected = MetaData()
    for table in (*Base.metadata.tables.values(), *(Registry.metadata.tables[name] for name in ("tokens", "events"))):
        table.to_metadata(expected)
    url = postgres.new() if kind == "postgresql" else None
    with closing(Database(DataLocation(tmp_path, url, STUDIO))) as database, database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), expected) == []


def test_one_studio_holds_a_database(tmp_path, postgres):
    url = postgres.new()
    first, second = (Database(DataLocation(tmp_path / name, url, STUDIO)) for name in ("first", "second"))
    with closing(first):
        assert first.hold()
        assert not second.hold()
    second.close()
    with closing(Database(DataLocation(tmp_path / "second", url, STUDIO))) as third:
        assert third.hold()


def test_the_service_answers_with_it(make_studio):
    studio = make_studio()
    job = studio.generate(code=200, headers={"Prefer": "wait=5"}).json()
    assert job["state"] == "done"
    assert len(studio("GET", "/v1/log?model=isles-maker", code=200).json()["outputs"]) == 1
    for path in ("/v1/jobs/%00", "/v1/models/%00", "/v1/jobs/%00/audio/0"):
        studio("GET", path, code=404)
    studio.engine.work = None
    studio.inspect(name="a\x00\U0001f3b5.wav")
