"""Runs that were under way are resumed when the server starts; those that fail again and again are not."""

import errno
import os
from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import Mock

import pytest

from sottovoce.protocol.messages import Announcement, RunOver
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_server.flower import deployed_coordinator
from sottovoce_server.flower import resuming as resuming_module
from sottovoce_server.flower.control import SuperLinkGone
from sottovoce_server.home.runs import SUBMITTED, Order, RunFolder
from sottovoce_server.rounds import submission
from sottovoce_server.rounds.automatic_resumption import MOST_ATTEMPTS, resume_all, tell_all, under_way
from sottovoce_server.rounds.checkpoint import Keeper
from sottovoce_server.rounds.ending import Ending


@pytest.fixture
def run_in(home, monkeypatch):
    """Makes a run whose last report is this one; its checkpoint is never read."""
    monkeypatch.setattr(Keeper, "load", lambda self: None)
    monkeypatch.setattr(submission, "build_bundle", lambda: (b"", ""))
    monkeypatch.setattr(submission, "ENDING_SECONDS", 0)
    config = configure_run(RunRequest(task="style", family="svm"), classes=("blues", "waltz"), labels=3)

    def make(state, **details):
        announcement = Announcement(os.urandom(16), bytes(32), config.digest, config.to_bytes())
        run = RunFolder.create(home, Order(announcement, "a", 7.0, 9.0))
        run.report(state, **details)
        return run

    return make


@pytest.fixture
def control():
    return Mock(runs=Mock(return_value=[]), start=Mock(return_value=1))


@pytest.fixture
def resume(home, control):
    """Starts the server: what people see of each run, and the pauses."""

    def go():
        seen, pauses = [], []
        resume_all(home, control, pause=pauses.append, say=lambda run, what: seen.append((run, what)))
        return seen, pauses

    return go


@pytest.mark.parametrize(
    ("state", "details", "resumes"),
    [
        ("waiting", {}, True),
        ("training", {}, True),
        ("publishing", {}, True),
        ("failed", {"transient": True}, True),
        ("failed", {}, False),
        ("stopped", {}, False),
        ("ended", {}, False),
        ("published", {}, False),
    ],
)
def test_what_was_under_way_is_resumed_and_nothing_else(run_in, resume, control, state, details, resumes):
    run = run_in(state, **details)
    run.keeper.started(3)
    seen, pauses = resume()
    assert seen == ([(run.run[:8], "resumed after round 3")] if resumes else [])
    assert pauses == []
    assert control.start.called == resumes
    assert run.order().resume == resumes
    assert (run.order().patience, run.order().timeout) == (7.0, 9.0)


def test_a_run_that_makes_no_progress_is_resumed_ever_later_and_then_left_to_people(run_in, resume, control):
    run = run_in("training")
    run.keeper.started(2)
    waits = []
    for _ in range(MOST_ATTEMPTS):
        waits += resume()[1]
        run.report("training")  # and its process vanishes
    assert waits == [10.0, 20.0, 40.0, 80.0]
    assert control.start.call_count == MOST_ATTEMPTS
    assert resume() == ([(run.run[:8], "not resumed: 5 attempts in a row made no progress")], [])
    run.keeper.started(3)  # people resumed it by hand, and it got further
    assert resume() == ([(run.run[:8], "resumed after round 3")], [])


def test_one_run_that_cannot_be_resumed_does_not_stop_the_others(run_in, resume):
    broken, other = run_in("training"), run_in("training")
    (broken.folder / "order.json").write_bytes(b"{")
    seen, _ = resume()
    assert seen == [
        (broken.run[:8], "not resumed: The run's order (order.json) is damaged: Input data was truncated"),
        (other.run[:8], "resumed after round 0"),
    ]


def test_a_run_whose_resumption_broke_off_is_resumed(run_in, resume, control):
    run = run_in("training")
    (run.folder / "checkpoint.safetensors").touch()
    control.start.side_effect = SuperLinkGone("It does not respond.")
    assert resume()[0] == [(run.run[:8], "not resumed: It does not respond.")]
    assert run.progress()["state"] == SUBMITTED
    control.start.side_effect = None
    assert resume()[0][-1] == (run.run[:8], "resumed after round 0")


def test_a_full_disk_while_one_run_resumes_does_not_stop_the_others(run_in, resume, monkeypatch):
    full, other = run_in("training"), run_in("training")
    write = RunFolder.write_order

    def written(folder, order):
        if folder == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(folder, order)

    monkeypatch.setattr(RunFolder, "write_order", written)
    assert resume()[0] == [
        (full.run[:8], "not resumed: the coordinator's disk cannot be used (No space left on device)"),
        (other.run[:8], "resumed after round 0"),
    ]


def test_a_run_whose_process_still_works_is_left_alone(run_in, resume, monkeypatch, control):
    run_in("training")
    monkeypatch.setattr(RunFolder, "given_up", lambda self, patience: False)
    assert "still running" in resume()[0][0][1]
    assert not control.start.called


def test_a_damaged_count_begins_anew(run_in, resume):
    run = run_in("training")
    (run.folder / "resumptions.json").write_bytes(b"[")
    assert resume()[0] == [(run.run[:8], "resumed after round 0")]


def test_labels_that_were_away_are_notified_when_the_server_starts(home, run_in, control):
    def over(state, untold):
        run = run_in(state)
        announcement = run.order().announcement
        known = {"run": announcement.run, "agreement": announcement.agreement, "round": 1}
        ending = RunOver.sign(home.identity(), **known, parameters_digest=bytes(32))
        run.keeper.ending.write(Ending(ending, untold))
        return run

    waiting = [over("published", {"verve": 7}), over("ended", {"verve": 7}), over("failed", {"verve": 7})]
    over("published", {})
    over("training", {"verve": 7})  # it is resumed, and says so itself
    run_in("published").keeper.ending.path.write_bytes(b"{")
    seen = []
    tell_all(home, control, say=lambda run, what: seen.append(run))
    assert seen == [run.run[:8] for run in waiting]
    assert [call.args[2] for call in control.start.call_args_list] == [run.run for run in waiting]
    assert [run.progress()["state"] for run in waiting] == ["published", "ended", "failed"]


def test_the_app_notifies_labels_as_they_connect(home, run_in, monkeypatch):
    run = run_in("published")
    announcement = run.order().announcement
    known = {"run": announcement.run, "agreement": announcement.agreement, "round": 1}
    over = RunOver.sign(home.identity(), **known, parameters_digest=bytes(32))
    run.keeper.ending.write(Ending(over, {"verve": 7, "blue": 8}))
    connected = iter([[], [7], [7], [7, 8], [7, 8], [7, 8]])
    grid = Mock(get_node_ids=lambda: next(connected))
    answered = []

    def tell(grid, ending, sums):
        known = set(grid.get_node_ids())
        answered.append(known)
        return replace(ending, untold={label: node for label, node in ending.untold.items() if node not in known})

    monkeypatch.setattr(deployed_coordinator, "tell", tell)
    monkeypatch.setattr(deployed_coordinator, "tell_others", lambda grid, ending: None)
    monkeypatch.setattr(deployed_coordinator.time, "sleep", lambda _: None)
    deployed_coordinator._execute(home, run, grid)
    assert run.keeper.ending.read().untold == {}
    assert answered == [set(), {7}, {7, 8}]
    assert run.progress()["state"] == "published"


def test_the_thread_waits_for_the_superlink_and_stops_with_it(home, run_in, monkeypatch):
    run_in("training")
    answers = iter([SuperLinkGone("not yet"), SuperLinkGone("not yet"), None])

    def runs():
        answer = next(answers)
        if answer:
            raise answer
        return []

    done = []
    monkeypatch.setattr(resuming_module, "PAUSE", 0)
    monkeypatch.setattr(resuming_module, "resume_all", lambda home, control, **_: done.append(control))
    control = Mock(runs=runs)
    monkeypatch.setattr(resuming_module, "connected", lambda home: nullcontext(control))
    stop = resuming_module.Event()
    resuming_module._resume(home, Mock(), stop)
    assert done == [control]
    stop.set()
    monkeypatch.setattr(control, "runs", Mock(side_effect=SuperLinkGone("gone")))
    resuming_module._resume(home, Mock(), stop)  # it returns at once
    assert done == [control]


def test_a_home_without_such_runs_starts_no_thread(home, monkeypatch):
    monkeypatch.setattr(resuming_module, "Thread", Mock())
    with resuming_module.resuming(home, Mock()):
        assert not resuming_module.Thread.return_value.start.called
    assert list(under_way(home)) == []
