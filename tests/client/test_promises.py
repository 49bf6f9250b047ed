"""Promises that nothing can use any more are released, and no other."""

import os

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.privacy.calibration import plan_for
from sottovoce_client.budget.account import account_of
from sottovoce_client.budget.known_heads import known_heads
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.home.diary import What
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds import promises
from sottovoce_client.rounds.promises import (
    KILLED_WHILE_JOINING,
    LONGEST_SILENCE_DAYS,
    SILENT,
    release_stale,
    stale_promises,
)
from sottovoce_client.rounds.run_state import delete_state, lock_of

NOW = 1_800_000_000.0
DAY = 86_400.0
JOINING, SILENT_RUN, HEARD = (bytes([number]) * 16 for number in (1, 2, 3))


@pytest.fixture
def home(label_home, config):
    plan = plan_for(config, 100)
    ceilings = Policy(epsilon_lifetime=100.0).ceilings
    with Ledger(label_home.ledger_file) as ledger:
        for run in (JOINING, SILENT_RUN, HEARD):
            ledger.open_run(run, plan, ceilings)
    for run, days in ((SILENT_RUN, LONGEST_SILENCE_DAYS + 1), (HEARD, LONGEST_SILENCE_DAYS - 1)):
        for suffix in ("json", "model"):
            file = label_home.runs / f"{run.hex()}.{suffix}"
            file.write_bytes(b"secret")
            os.utime(file, (NOW - days * DAY,) * 2)
    return label_home


def still_open(home):
    with Ledger(home.ledger_file) as ledger:
        return ledger.open_runs()


def test_killed_while_joining_and_long_silent_ones_are_released(home):
    """A label killed between its promise and its answer kept the promise for ever."""
    assert release_stale(home, now=NOW) == {JOINING: KILLED_WHILE_JOINING, SILENT_RUN: SILENT}
    assert still_open(home) == (HEARD,)
    assert {file.name for file in home.runs.iterdir()} == {f"{HEARD.hex()}.json", f"{HEARD.hex()}.model"}
    notes = {note.run: note.details["why"] for note in home.diary.notes() if note.what is What.CLOSED}
    assert notes == {JOINING.hex(): KILLED_WHILE_JOINING, SILENT_RUN.hex(): SILENT}
    with Ledger(home.ledger_file) as ledger:
        assert known_heads(home) == (ledger.head,)
    assert release_stale(home, now=NOW) == {}
    ended = {run.run: run.ended for run in account_of(home).runs}
    assert ended == {JOINING.hex(): KILLED_WHILE_JOINING, SILENT_RUN.hex(): SILENT, HEARD.hex(): ""}
    shown = CliRunner().invoke(app, ["label", "ledger", "--home", str(home.root)]).stdout
    assert f"Closed: run {SILENT_RUN.hex()[:8]}: {SILENT}" in shown


def test_silence_is_counted_to_the_second(home):
    os.utime(home.runs / f"{HEARD.hex()}.json", (NOW - LONGEST_SILENCE_DAYS * DAY,) * 2)
    assert HEARD not in stale_promises(home, now=NOW)
    assert stale_promises(home, now=NOW + 1)[HEARD] == SILENT


def test_a_run_that_is_joined_at_this_moment_is_left_alone(home):
    with FileLock(lock_of(home.runs, JOINING)):
        assert release_stale(home, now=NOW).keys() == {SILENT_RUN}
    assert JOINING in still_open(home)


def test_nobody_else_reads_a_lock_and_another_process_may_remove_it(home, monkeypatch):
    modes = []

    def also_elsewhere(folder, run):
        delete_state(folder, run)
        modes.append(lock_of(folder, run).stat().st_mode & 0o077)
        lock_of(folder, run).unlink()

    monkeypatch.setattr(promises, "delete_state", also_elsewhere)
    assert len(release_stale(home, now=NOW)) == 2
    assert modes == [0, 0]


def test_a_run_whose_state_comes_to_be_while_it_is_looked_at_is_left_alone(home, monkeypatch):
    looked = promises.stale_promises

    def then_joins(home, *, now):
        found = looked(home, now=now)
        (home.runs / f"{JOINING.hex()}.json").write_bytes(b"joined")
        os.utime(home.runs / f"{JOINING.hex()}.json", (NOW, NOW))
        return found

    monkeypatch.setattr(promises, "stale_promises", then_joins)
    assert release_stale(home, now=NOW).keys() == {SILENT_RUN}
    assert JOINING in still_open(home)
    assert (home.runs / f"{JOINING.hex()}.json").exists()
