"""What a coordinator keeps of its runs, and how it lists them."""

import os

import pytest

from sottovoce.configure import configured
from sottovoce.protocol.messages import Announcement
from sottovoce_server.runs import Order, RunFolder


@pytest.fixture
def announcement():
    config = configured(task="style", family="svm", classes=("blues", "waltz"), labels=3)

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
