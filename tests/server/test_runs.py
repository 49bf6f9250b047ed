"""What a coordinator keeps of its runs, and how it lists them."""

import json
import os
from contextlib import contextmanager
from threading import Event, Thread
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.errors import ConfigurationError
from sottovoce.protocol.messages import Announcement
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_server.home.runs import Order, RunFolder
from sottovoce_server.rounds import submission
from sottovoce_server.rounds.end_for_good import end_for_good
from sottovoce_server.rounds.listing import listed_runs


@pytest.fixture
def announcement():
    config = configure_run(RunRequest(task="style", family="svm"), classes=("blues", "waltz"), labels=3)

    def make():
        return Announcement(os.urandom(16), bytes(32), config.digest, config.to_bytes())

    return make


def test_runs_are_listed_by_their_beginning_whatever_is_written_later(home, announcement):
    runs = [RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0)) for _ in range(4)]
    for run in (runs[2], runs[0]):
        run.report("training")
        run.write_order(run.order())
    assert [run.folder for run in RunFolder.all(home)] == [run.folder for run in reversed(runs)]


def test_a_stopped_run_says_which_rounds_it_has(home, announcement):
    run = RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0))
    assert run.progress() == {"state": "submitted"}
    run.report("training", history={"rounds": [1, 2]})
    run.report("stopped")
    assert run.progress() == {"state": "stopped", "history": {"rounds": [1, 2]}}
    run.report("failed", message="m")
    assert run.progress()["message"] == "m"
    run.report("publishing", history={"rounds": [1, 2, 3]})
    assert run.progress() == {"state": "publishing", "history": {"rounds": [1, 2, 3]}}
    run.forget_progress()
    assert run.progress() == {"state": "submitted"}


@pytest.mark.parametrize("state", ["waiting", "training", "publishing"])
def test_a_run_whose_process_is_gone_broke_off(home, announcement, state):
    run = RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0))
    assert run.state == "submitted"
    with run.worked_on():
        run.report(state)
        assert run.state == state
    assert run.state == "broke off"
    run.report("published")
    assert run.state == "published"


@contextmanager
def in_the_hands_of_another(run: RunFolder, seconds: float | None = None):
    """Another thread, with a lock of its own as another process has, works on the run for a while, or until the end."""
    begun, over = Event(), Event()

    def work() -> None:
        with run.worked_on():
            begun.set()
            over.wait(seconds)

    worker = Thread(target=work)
    worker.start()
    assert begun.wait(600)
    try:
        yield
    finally:
        over.set()
        worker.join()


def test_a_run_is_not_resumed_while_a_process_works_on_it(home, announcement, monkeypatch):
    monkeypatch.setattr(submission, "ENDING_SECONDS", 0.1)
    run = RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0))
    with (
        in_the_hands_of_another(run),
        pytest.raises(ConfigurationError, match="still running") as caught,
    ):
        submission.resumed(home, Mock(), run.run, patience=1.0, timeout=1.0)
    assert f"server stop {run.run[:8]}" in (caught.value.hint or "")


def test_a_process_that_is_ending_is_waited_for(home, announcement, monkeypatch):
    monkeypatch.setattr(submission, "ENDING_SECONDS", 600)
    run = RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0))
    with in_the_hands_of_another(run, 0.5), pytest.raises(ConfigurationError, match="before its labels had joined"):
        submission.resumed(home, Mock(), run.run, patience=1.0, timeout=1.0)  # what is kept is looked for after it


def test_a_process_that_works_on_a_run_waits_for_one_that_only_looks(home, announcement):
    run = RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0))
    with in_the_hands_of_another(run, 0.5), run.worked_on():
        assert run.under_way


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"state": 1}', b"\xff"])
def test_a_damaged_progress_file_is_said_and_stops_no_listing(home, announcement, damage):
    whole = RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0))
    whole.report("published")
    run = RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0))
    (run.folder / "progress.json").write_bytes(damage)
    assert [(each["run"], each["state"]) for each in listed_runs(home)] == [
        (run.run, "unreadable"),
        (whole.run, "published"),
    ]


def test_a_folder_that_was_made_and_not_filled_stops_no_listing(home):
    (home.runs / ("0" * 32)).mkdir()
    assert [each["state"] for each in listed_runs(home)] == ["unreadable"]


def test_a_submitted_run_that_the_superlink_does_not_know_broke_off(home, announcement, monkeypatch):
    lost, known = (RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0)) for _ in range(2))
    under_way = [Mock(over=False)]
    under_way[0].name = known.run

    @contextmanager
    def connected(_home):
        yield Mock(runs=lambda: under_way)

    assert {each["state"] for each in listed_runs(home)} == {"submitted"}  # no SuperLink answers
    monkeypatch.setattr("sottovoce_server.flower.control.connected", connected)
    assert {each["run"]: each["state"] for each in listed_runs(home)} == {
        lost.run: "broke off",
        known.run: "submitted",
    }


def test_the_list_of_runs_shows_the_latest_figures_and_what_noise_leaves_of_them(home, announcement):
    run = RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0))
    RunFolder.create(home, Order(announcement(), "b", 1.0, 1.0))
    noise = {"accuracy": 0.02, "macro_f1": 0.1}
    figures = {"2": {"accuracy": 0.5}, "10": {"accuracy": 0.9, "macro_f1": 0.8, "noise": noise}}
    run.report("published", history={"rounds": [1, 2], "metrics": figures})
    arguments = ["server", "runs", "--home", str(home.root)]
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert [each["figures"] for each in found] == [None, figures["10"]]
    words = " ".join(CliRunner().invoke(app, arguments, env={"COLUMNS": "120"}).stdout.split())
    assert "accuracy 0.900 ± 0.020, macro-F1 0.800 ± 0.100" in words


def test_a_run_that_is_ended_for_good_is_not_resumed(home, announcement, monkeypatch):
    monkeypatch.setattr(type(home), "invitation", Mock(side_effect=ConfigurationError("no SuperLink")))
    run = RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0))
    run.report("training", history={"rounds": [1]})
    run.keeper.started(4)
    done = CliRunner().invoke(app, ["server", "end", run.run[:6], "--yes", "--json", "--home", str(home.root)])
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"run": run.run, "telling": False})
    over = run.keeper.ending.read().over
    assert (over.run.hex(), over.round, over.has_model) == (run.run, 4, False)
    assert over.is_signed_by(home.identity().public_key)
    assert run.state == "ended"
    assert home.journal().verify()[-1].kind == "run-over"
    with pytest.raises(ConfigurationError, match="ended for good"):
        submission.resumed(home, Mock(), run.run, patience=1.0, timeout=1.0)
    again = CliRunner().invoke(app, ["server", "end", run.run[:6], "--yes", "--home", str(home.root)])
    assert "notified during the next run" in again.stdout
    assert run.keeper.ending.read().over == over


def test_a_run_under_way_is_not_ended(home, announcement):
    run = RunFolder.create(home, Order(announcement(), "a", 1.0, 1.0))
    with in_the_hands_of_another(run), pytest.raises(ConfigurationError, match="Another process") as caught:
        end_for_good(home, run.run)
    assert "server stop" in caught.value.hint
    run.report("published")
    with pytest.raises(ConfigurationError, match="published"):
        end_for_good(home, run.run)
    assert run.keeper.ending.read() is None
