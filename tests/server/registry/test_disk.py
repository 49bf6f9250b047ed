"""A registry survives every fault of its disk: what it shows is whole, and what it lost can be published again."""

import shutil
from collections import Counter
from contextlib import closing
from itertools import count
from threading import Lock

import pytest
from sqlalchemy import select
from tests.faults.disk import every_fault

from sottovoce.files import sha256_file
from sottovoce_server import database as database_module
from sottovoce_server.database import Database, DataLocation
from sottovoce_server.registry import tokens
from sottovoce_server.registry.file_store import Store
from sottovoce_server.registry.publishing import Publishing
from sottovoce_server.registry.schema import Release
from sottovoce_server.registry.tokens import Scope

NAME, VERSION = "isles-style-svm", "20260101T000000Z"


@pytest.fixture
def uploaded(tmp_path, start_registry, settings, release):
    """A registry's folder with an upload that is complete; the caller and the upload's id."""
    service = start_registry(tmp_path / "uploaded", settings)
    text = service.token("publish")
    upload = service.begin(text)
    service.send(text, upload, release)
    with service.database.session() as session:
        caller = tokens.authenticate(session, text, None)
    service.database.close()
    return service.data, caller, upload


def visible(data):
    """The files of every release that is shown, each compared with its digest."""
    with closing(Database(DataLocation(data))) as database, database.session() as session:
        releases = session.scalars(select(Release)).all()
        files = [(Store(data, 1 << 22).blob(file.sha256), file.sha256) for each in releases for file in each.files]
    for blob, sha256 in files:
        assert sha256_file(blob) == sha256
    return len(releases)


def test_a_release_is_published_whole_or_can_be_published_again(uploaded, settings, release, tmp_path, monkeypatch):
    source, caller, upload = uploaded
    numbers = count()
    monkeypatch.setattr(database_module, "migrate", lambda *_: None)

    def publishing(data):
        return closing(database := Database(DataLocation(data))), Publishing(
            database, Store(data, settings.largest_file), settings, Lock()
        )

    def publish(data):
        database, service = publishing(data)
        with database:
            service.publish(caller, upload)

    seen = Counter()
    for data, _fault, failed in every_fault(
        publish, lambda: shutil.copytree(source, tmp_path / str(next(numbers))), monkeypatch, step=3
    ):
        shown = visible(data)
        assert shown in ((0, 1) if failed else (1,))
        seen[shown] += 1
        if not shown and seen[0] % 20 == 1:
            database, service = publishing(data)
            with database:
                again = service.begin(caller, NAME, VERSION)
                for file in release.iterdir():
                    shutil.copy(file, data / "uploads" / again)
                service.publish(caller, again)
            assert visible(data) == 1
        shutil.rmtree(data)
    assert seen[0]
    assert seen[1]


def test_a_token_is_made_or_not(start_registry, settings, tmp_path, monkeypatch):
    start_registry(tmp_path / "made", settings).database.close()
    numbers = count()
    monkeypatch.setattr(database_module, "migrate", lambda *_: None)

    def create(data):
        with closing(Database(DataLocation(data))) as database, database.session() as session:
            tokens.create(session, "somebody", [Scope.READ], None, 3600)

    made = Counter()
    for data, fault, failed in every_fault(
        create, lambda: shutil.copytree(tmp_path / "made", tmp_path / str(next(numbers))), monkeypatch
    ):
        with closing(Database(DataLocation(data))) as database, database.session() as session:
            tokens_there = len(tokens.everything(session))
        assert tokens_there in ((0, 1) if failed else (1,)), fault
        made[tokens_there] += 1
    assert made[0]
