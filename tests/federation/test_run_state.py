"""A label's state is on the disk, under its name, before the answer that depends on it leaves."""

import json
import os
import stat
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sottovoce.errors import LocalProtocolError
from sottovoce.files import write_bytes
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.events import HeldOutCounts
from sottovoce.protocol.messages import Announcement
from sottovoce.run.configuration import BandedFactorisation, DistributedNoise, Trust
from sottovoce_client.budget.rows import Head
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.opened_home import OpenedHome
from sottovoce_client.rounds.run_state import RunState, Witnessed, forget_run, last_answer


def test_a_new_state_is_flushed_and_so_is_the_folder_that_names_it(tmp_path, monkeypatch):
    """Flushing the file alone leaves the old name in place after a power cut, and with it the older state."""
    steps: list[str] = []
    flush = os.fsync

    def watched(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        steps.append(f"{'folder' if is_folder else 'file'}, {(tmp_path / 'state').exists()}")
        flush(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_bytes(tmp_path / "state", b"new", mode=0o600)
    assert steps == ["file, False", "folder, True"]


@pytest.fixture
def joined(federation, agreement, config):
    """Where a label keeps a run that it has just joined, the run's id, and its state."""
    announcement = Announcement.of(agreement, config)
    Label(federation.homes[0]).answer(announcement.encode())
    states = OpenedHome.of(federation.homes[0]).states
    return states, announcement.run, states.load(announcement.run)


def a_banded_plan(plan, config):
    banded = BandedFactorisation(2, (64, 32))
    noise = DistributedNoise(min_honest=2, noise_multiplier=1.0, sample_rate=1.0, banded=banded)
    mechanism = DistributedDiscreteGaussian.of(config.changed(distributed=noise, local_steps=1), 7, 5)
    counts = HeldOutCounts(400.0, 9, 1, 10, 5)
    return replace(plan, trust=Trust.DISTRIBUTED, mechanism=mechanism, evaluations=counts)


def test_a_state_comes_back_as_it_was_written(joined, config):
    states, run, state = joined
    state.plan = a_banded_plan(state.plan, config)
    state.histogram = [1.5, 2.0, 0.0]
    state.sums = {3: np.arange(7), 4: np.arange(7) - 9}
    state.witnessed = {4: Witnessed(5, 4)}
    states.save(run, state)
    again = states.load(run)
    assert again.plan == state.plan
    assert isinstance(again.plan.trust, Trust)
    assert (again.histogram, again.witnessed) == (state.histogram, state.witnessed)
    assert {number: kept.tolist() for number, kept in again.sums.items()} == {3: [*range(7)], 4: [*range(-9, -2)]}
    assert again.participant.to_bytes() == state.participant.to_bytes()


def test_a_run_without_privacy_has_no_plan_and_a_ledgers_head_is_kept(joined):
    states, run, state = joined
    state.plan, state.histogram, state.ledger = None, None, Head(7, bytes(range(32)))
    states.save(run, state)
    again = states.load(run)
    assert (again.plan, again.histogram, again.ledger) == (None, None, Head(7, bytes(range(32))))


def test_sums_before_noise_are_written_only_where_a_later_report_needs_them(joined):
    states, run, state = joined
    state.sums = {1: np.arange(7)}
    states.save(run, state)
    assert states.load(run).sums == {}


def banded(coefficients):
    return RunState(None, SimpleNamespace(mechanism=SimpleNamespace(coefficients=coefficients)))


def test_as_many_sums_are_kept_as_reports_need_and_a_missed_round_is_nothing():
    state = banded((4, 2, 1))
    for number in (1, 2, 4):
        state.remember(number, np.full(2, number))
    assert sorted(state.sums) == [2, 4]
    assert [total.tolist() for total in state.last_sums(4)] == [[2, 2], [0, 0], [4, 4]]
    first = banded((4, 2, 1))
    first.remember(1, np.ones(2))
    assert [total.tolist() for total in first.last_sums(1)] == [[1, 1]]
    alone = banded((1,))
    for number in (1, 2):
        alone.remember(number, np.full(2, number))
    assert [total.tolist() for total in alone.last_sums(2)] == [[2, 2]]
    assert (state.keeps_sums, alone.keeps_sums) == (True, False)
    assert not RunState(None, None).keeps_sums


def test_a_round_is_witnessed_from_its_request_on_and_forgotten_with_the_next():
    state = RunState(None, None)
    state.survived(SimpleNamespace(round=1, survivors=("a",)))
    assert state.witnessed == {}
    state.asked(SimpleNamespace(round=2, participants=("a", "b", "c")))
    assert state.witnessed == {2: Witnessed(3, 0)}
    state.survived(SimpleNamespace(round=2, survivors=("a", "b")))
    assert state.witnessed == {2: Witnessed(3, 2)}
    state.asked(SimpleNamespace(round=3, participants=("a",)))
    assert state.witnessed == {3: Witnessed(1, 0)}


def test_nobody_else_reads_a_state_and_nothing_of_it_stays(joined):
    states, run, _ = joined
    states.save_model(run, b"model")
    files = list(states.folder.iterdir())
    assert {file.suffix for file in files} == {".json", ".model", ".lock"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    assert last_answer(states.folder, run) == (states.folder / f"{run.hex()}.json").stat().st_mtime
    states.forget(run)
    assert list(states.folder.iterdir()) == []
    states.forget(run)  # a label may be told twice, and may never have had a model
    assert last_answer(states.folder, run) is None
    assert states.model(run) is None


def test_a_run_is_forgotten_only_if_what_comes_first_succeeds(joined):
    states, run, _ = joined
    states.save_model(run, b"model")
    with pytest.raises(OSError, match="no"), forget_run(states.folder, run):
        raise OSError("no")
    assert states.exists(run)
    assert states.model(run)
    with forget_run(states.folder, run):
        pass
    assert list(states.folder.iterdir()) == []
    with forget_run(states.folder, run):
        lock = states.folder / f".{run.hex()}.lock"
        assert lock.stat().st_mode & 0o077 == 0
        lock.unlink()  # another process has forgotten the run meanwhile
    assert list(states.folder.iterdir()) == []


def test_a_state_of_an_earlier_release_names_no_ledger_and_no_version_that_was_met(joined):
    states, run, state = joined
    assert state.ledger
    file = states.folder / f"{run.hex()}.json"
    values = json.loads(file.read_text())
    written = {name: value for name, value in values.items() if name not in ("ledger", "met")}
    file.write_text(json.dumps(written))
    former = states.load(run)
    assert (former.ledger, former.participant.met) == (None, 0)
    states.save(run, former)
    assert json.loads(file.read_text()) == written  # which that release reads, should the label go back


def test_what_is_not_there_or_damaged_is_said(joined):
    states, run, _ = joined
    for look in (states.load, lambda run: states.joined(run).__enter__()):
        with pytest.raises(LocalProtocolError, match="has not joined"):
            look(bytes(16))
    assert not (states.folder / f".{bytes(16).hex()}.lock").exists()
    file = states.folder / f"{run.hex()}.json"
    values = json.loads(file.read_text())
    for damaged in ({**values, "witnessed": {"1": {"who": 3}}}, {**values, "plan": {}}, [], {}):
        file.write_text(json.dumps(damaged))
        with pytest.raises(LocalProtocolError, match="is damaged") as caught:
            states.load(run)
        assert caught.value.hint


def test_a_deleted_state_stays_deleted_after_a_power_cut(joined, monkeypatch):
    """The coordinator tells a label once that a run is over: a key that comes back would stay for ever."""
    states, run, _ = joined
    left = []
    monkeypatch.setattr(os, "fsync", lambda handle: left.append(states.exists(run)))
    states.forget(run)
    assert left == [False]
    assert not states._lock(run).exists()
