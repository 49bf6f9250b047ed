"""A label's account says of each run what ledger and diary hold, and nothing that a coordinator made up."""

import json
from types import SimpleNamespace

import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.privacy.accountant import epsilon
from sottovoce.privacy.events import Gaussian
from sottovoce.protocol.message import VERSION as NEWEST_PROTOCOL
from sottovoce_client.budget.account import Account, RunAccount, _joined, account_of, run_of
from sottovoce_client.budget.ledger import Ceilings, Ledger
from sottovoce_client.budget.rows import Kind, Row

OPEN, CLOSED, REFUSED = (bytes([number]) * 16 for number in (0xA1, 0xA2, 0xB3))
DELTA = 1e-5
CEILINGS = Ceilings(epsilon_per_run=8.0, epsilon_lifetime=16.0, delta=DELTA)


@pytest.fixture
def home(label_home, config):
    """Two rounds of a run, one of a run that is closed, and a refused one."""
    plan = SimpleNamespace(delta=DELTA, whole_run=(Gaussian(9.0, 5),))
    with Ledger(label_home.ledger_file) as ledger:
        for run, rounds in ((OPEN, (1, 3)), (CLOSED, (2,))):
            ledger.open_run(run, plan, CEILINGS)
            for number in rounds:
                ledger.charge(run, number, [Gaussian(9.0)])
        ledger.close_run(CLOSED)
    label_home.diary.joined(OPEN, config, federation="isles", epsilon=4.0, delta=DELTA)
    label_home.diary.refused(REFUSED, config, "budget", why="too dear", hint="wait")
    return label_home


def noted(home, what, run, **details):
    line = {"what": what, "run": run.hex(), "time": "2026-01-31T12:00:00+00:00", **details}
    with home.diary.file.open("a") as file:
        file.write(json.dumps(line) + "\n")


def by_run(home):
    return {each.run: each for each in account_of(home).runs}


def test_each_run_as_the_ledger_and_the_diary_have_it(home):
    found = by_run(home)
    running, closed, refused = (found[run.hex()] for run in (OPEN, CLOSED, REFUSED))
    assert (running.state, closed.state, refused.state) == ("open", "closed", "refused")
    assert (running.charged, closed.charged, refused.charged) == ((1, 3), (2,), ())
    assert (running.planned, running.promised, running.federation) == (4, 4.0, "isles")
    assert (running.task, running.family, running.protocol) == ("style", "svm", NEWEST_PROTOCOL)
    assert running.epsilon == epsilon([Gaussian(9.0, 2)], DELTA)
    assert (closed.task, closed.family, closed.planned, closed.promised) == ("", "", 0, None)
    assert (refused.reason, refused.why, refused.hint, refused.planned) == ("budget", "too dear", "wait", 4)
    assert (refused.task, refused.family) == ("style", "svm")
    with Ledger(home.ledger_file) as ledger:
        assert running.began == ledger.rows()[0].time


def test_runs_are_listed_from_the_oldest_and_no_other_note_makes_one(home):
    noted(home, "refused", bytes(16), time="2020-01-31T12:00:00+00:00")
    noted(home, "round-declined", bytes([7]) * 16, round=1, reason="hours")
    assert next(each.run for each in account_of(home).runs) == bytes(16).hex()
    assert bytes([7] * 16).hex() not in by_run(home)


def test_a_run_began_with_its_promise_whatever_is_noted_later(home):
    noted(home, "round-declined", OPEN, task="editor", rounds=9)
    opened, charged = Row(1, "2026-01-01", Kind.OPEN, OPEN, 0, ()), Row(2, "2026-01-02", Kind.CHARGE, OPEN, 1, ())
    (run,) = _joined(home, (opened, charged), {OPEN: 0.0})
    assert (run.began, run.task, run.planned) == ("2026-01-01", "style", 4)


def test_all_runs_together(home):
    account = account_of(home)
    assert account.delta == DELTA
    assert account.epsilon == epsilon([Gaussian(9.0, 3)], DELTA)
    assert account.committed == epsilon([Gaussian(9.0, 6)], DELTA)
    assert account.remaining == account.ceiling - account.committed > 0
    assert Account(committed=17.0, ceiling=16.0).remaining == 0
    began = [each.began for each in account.runs]
    assert began == sorted(began)


def test_the_first_round_without_tracks_and_the_latest_labels_left_out(home):
    noted(home, "no-tracks", OPEN, round=2)
    noted(home, "no-tracks", OPEN, round=3)
    noted(home, "left-out", OPEN, round=1, labels=["a"])
    noted(home, "left-out", OPEN, round=2, labels=["b"])
    noted(home, "left-out", OPEN, round=2, labels=["a", "b"])
    noted(home, "complained", OPEN, round=1, labels=["c", 7])
    noted(home, "complained", OPEN, round=2, labels="d")
    noted(home, "round-declined", OPEN, round=2, reason="hours")
    noted(home, "round-declined", CLOSED, round=9, reason="hours")
    found = by_run(home)[OPEN.hex()]
    assert (found.no_tracks, found.left_out) == (2, ("a", "b"))
    assert found.complained == ((1, ("c",)), (2, ()))
    assert found.declined == ((2, "hours"),)
    other = by_run(home)[CLOSED.hex()]
    assert (other.no_tracks, other.left_out, other.complained) == (None, (), ())


def test_a_run_that_was_refused_and_then_joined_is_one_run(home, config):
    home.diary.refused(OPEN, config, "catalogue")
    assert [each.state for each in account_of(home).runs if each.run == OPEN.hex()] == ["open"]


def test_what_a_diary_of_an_earlier_version_holds_cannot_steer_a_terminal(home):
    noted(home, "joined", CLOSED, task="\x1b[2J", family="s\nvm", federation="é", rounds=True, epsilon="much")
    found = by_run(home)[CLOSED.hex()]
    assert (found.task, found.family, found.federation) == ("?[2J", "s?vm", "é")
    assert (found.planned, found.promised) == (0, None)


def test_a_run_is_named_by_the_beginning_of_its_id():
    states = {"a1b2": "open", "a1c3": "closed", "ffff": "refused"}
    runs = tuple(RunAccount(run, state, "") for run, state in states.items())
    assert run_of(Account(runs), "A1B").run == "a1b2"
    with pytest.raises(ConfigurationError, match="more than one run"):
        run_of(Account(runs), "a1")
    for beginning in ("b", "ff"):
        with pytest.raises(ConfigurationError, match="no joined run") as caught:
            run_of(Account(runs), beginning)
        assert caught.value.hint
