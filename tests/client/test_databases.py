"""Databases survive every fault of the disk: what is in them afterwards is the old or the new, and work goes on."""

from types import SimpleNamespace

import pytest
from tests.faults.disk import Fault, every_fault

from sottovoce.errors import LedgerError
from sottovoce.privacy.calibration import plan_for
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.budget.rows import THE_REST, Kind
from sottovoce_client.catalogue.sides import Sides
from sottovoce_client.home.policy import Policy

RUN = bytes(range(16))


@pytest.fixture(scope="module")
def plan(run_configuration):
    return plan_for(run_configuration(), 100)


def opened(folder):
    return Ledger(folder / "ledger.sqlite")


CHANGES = {
    "a promise": lambda ledger, plan: ledger.open_run(RUN, plan, Policy(epsilon_lifetime=100.0).ceilings),
    "a charge": lambda ledger, plan: ledger.charge(RUN, 2, plan.events(1)),
    "an end": lambda ledger, plan: ledger.close_run(RUN),
    "all that is left": lambda ledger, plan: ledger.spend_rest(RUN),
}
ROWS = {
    "a promise": [(Kind.OPEN, 0)],
    "a charge": [(Kind.CHARGE, 2)],
    "an end": [(Kind.CLOSE, 0)],
    "all that is left": [(Kind.CHARGE, THE_REST), (Kind.CLOSE, 0)],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_ledger_has_every_row_of_a_change_or_none_and_what_is_done_stays(fresh, monkeypatch, plan, name):
    before = [] if name == "a promise" else [(Kind.OPEN, 0), (Kind.CHARGE, 1)]

    def prepare(folder):
        with Ledger.create(folder / "ledger.sqlite") as ledger:
            if before:
                CHANGES["a promise"](ledger, plan)
                ledger.charge(RUN, 1, plan.events(1))

    def change(folder):
        with opened(folder) as ledger:
            CHANGES[name](ledger, plan)

    lost = 0
    for folder, _fault, failed in every_fault(change, lambda: fresh(prepare), monkeypatch):
        with opened(folder) as ledger:
            ledger.verify()
            rows = [(row.kind, row.round) for row in ledger.rows()]
            whole = before + ROWS[name]
            assert rows in ((before, whole) if failed else (whole,))
            lost += rows == before
            if rows == before:
                CHANGES[name](ledger, plan)
        with opened(folder) as ledger:
            assert [(row.kind, row.round) for row in ledger.rows()] == whole
    assert lost


def test_a_new_ledger_is_whole_or_is_not_there(fresh, monkeypatch):
    def create(folder):
        Ledger.create(folder / "ledger.sqlite").close()

    missing = 0
    for folder, fault, failed in every_fault(create, lambda: fresh(lambda folder: None), monkeypatch):
        if not (folder / "ledger.sqlite").exists():
            assert failed
            missing += 1
            if fault in (Fault.FULL, Fault.SHORT):
                assert not list(folder.iterdir())
            create(folder)
        with opened(folder) as ledger:
            ledger.verify()
            assert ledger.rows() == ()
    assert missing


TRACKS = [SimpleNamespace(samples_digest=f"samples {number}", digest=f"file {number}") for number in range(3)]


def test_sides_are_all_written_or_none_and_never_change(fresh, monkeypatch):
    def prepare(folder):
        Sides.create(folder / "sides.sqlite")
        with Sides(folder / "sides.sqlite") as sides:
            sides.of(TRACKS[:1], lambda new: {TRACKS[0].samples_digest: True})

    def decide(held_out):
        return lambda new: {track.samples_digest: held_out for track in new}

    def write(folder):
        with Sides(folder / "sides.sqlite") as sides:
            sides.of(TRACKS, decide(False))

    lost = 0
    for folder, _fault, failed in every_fault(write, lambda: fresh(prepare), monkeypatch):
        with Sides(folder / "sides.sqlite") as sides:
            counts = tuple(sides.counts())
            assert counts in (((0, 1), (2, 1)) if failed else ((2, 1),))
            found = sides.of(TRACKS, decide(True))
        assert list(found.values()) == ([True, True, True] if counts == (0, 1) else [True, False, False])
        lost += counts == (0, 1)
    assert lost


def test_only_an_open_run_can_be_charged_with_its_rest(tmp_path, plan):
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(LedgerError, match="open run"):
            ledger.spend_rest(RUN)
        CHANGES["a promise"](ledger, plan)
        ledger.charge(RUN, 1, plan.events(1))
        ledger.spend_rest(RUN)
        rows = ledger.rows()
        assert [(row.kind, row.round) for row in rows[2:]] == ROWS["all that is left"]
        with pytest.raises(LedgerError, match="open run"):
            ledger.spend_rest(RUN)
        assert ledger.rows() == rows
        assert RUN in ledger
        assert RUN.hex() not in ledger
