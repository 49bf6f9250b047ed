"""The operator's commands, as they type them: tokens, and the log by month, model and age."""

import csv
import io
import json
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest
from tests.server.studio.conftest import Queue
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce_server.database import STUDIO, Database, DataLocation
from sottovoce_server.registry import tokens
from sottovoce_server.studio.jobs import Made


@pytest.fixture
def sottovoce(tmp_path):
    environment = {"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb", "SOTTOVOCE_STUDIO": str(tmp_path / "studio")}
    runner = CliRunner(env=environment)

    def run(*arguments, code=0):
        result = runner.invoke(app, ["studio", *map(str, arguments)], prog_name="sottovoce")
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def opened(tmp_path):
    with closing(Database(DataLocation(tmp_path / "studio", None, STUDIO))) as database:
        yield Queue(database, tmp_path / "studio" / "jobs")


def make(queue, model, when, monkeypatch, **parameters):
    """An entry of the log from that time."""
    with monkeypatch.context() as patch:
        patch.setattr("sottovoce_server.studio.jobs.time.time", lambda: when)
        queue.put(model=model, parameters=parameters, sources={"model": ["/somewhere", "d" * 64]})
        queue.end(queue.claim("w"), {}, [Made(1.5, 7, "a" * 64)], "ann")


def test_a_token_opens_the_studio_until_it_is_revoked(sottovoce, opened, tmp_path):
    text = sottovoce("token", "create", "ann", "--days", 30).stdout.strip()
    sottovoce("token", "create", "bob", "--out", tmp_path / "token")
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    sottovoce("token", "create", "bob", "--out", tmp_path / "token", code=2)
    listed = json.loads(sottovoce("token", "list", "--json").stdout)
    assert {(each["name"], each["state"]) for each in listed} == {("ann", "valid"), ("bob", "valid")}
    assert text.split("_")[2] not in sottovoce("token", "list").output
    with opened.database.session() as session:
        assert tokens.authenticate(session, text, None).scopes == {tokens.Scope.USE}
    sottovoce("token", "revoke", text.split("_")[1])
    with opened.database.session() as session:
        assert tokens.authenticate(session, text, None) is None
    sottovoce("token", "revoke", "0" * 16, code=2)
    sottovoce("token", "create", "A B", code=2)


def test_the_log_is_printed_by_month_and_model(sottovoce, opened, monkeypatch):
    for month, model in ((11, "a@1"), (12, "a@1"), (12, "a@2"), (12, "ab@1")):
        make(
            opened, model, datetime(2025, month, 31 if month == 12 else 30, 23, 59, tzinfo=UTC).timestamp(), monkeypatch
        )
    entries = json.loads(sottovoce("log", "--format", "json").stdout)["outputs"]
    assert [each["model"] for each in entries] == ["a@1", "a@1", "a@2", "ab@1"]
    assert entries[0] | {"token": "ann", "seed": 7, "seconds": 1.5, "digest": "d" * 64, "audio": "a" * 64} == entries[0]
    rows = list(csv.DictReader(io.StringIO(sottovoce("log", "--month", "2025-12", "--model", "a").stdout)))
    assert [each["model"] for each in rows] == ["a@1", "a@2"]
    assert len(list(csv.DictReader(io.StringIO(sottovoce("log", "--model", "a@2").stdout)))) == 1
    for month in ("2025-13", "0000-01", "december", "2025-12\n"):
        sottovoce("log", "--month", month, code=2)
    sottovoce("log", "--format", "xml", code=2)


def test_entries_are_deleted_only_when_the_operator_says_so(sottovoce, opened, monkeypatch):
    for days in (400, 100, 0):
        make(opened, f"a@{days}", time.time() - days * 24 * 3600, monkeypatch)
    opened.forget(before=1e12)
    assert len(opened.logged()) == 3
    sottovoce("log", "--delete-before", 0, code=2)
    said = sottovoce("log", "--delete-before", 365)
    assert "1 entry" in said.stderr
    assert [each.model for each in opened.logged()] == ["a@100", "a@0"]


def test_what_a_table_program_would_run_stays_text(sottovoce, opened, monkeypatch):
    make(opened, "a@1", time.time(), monkeypatch, restyle='=HYPERLINK("http://evil.example")')
    (row,) = csv.reader(io.StringIO(sottovoce("log").stdout.partition("\n")[2]))
    assert not [each for each in row if each.startswith(("=", "+", "@", "\t", "\r"))]
