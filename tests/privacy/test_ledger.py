"""The ledger survives crashes, concurrent writers and tampering, and prevents training when it cannot be used."""

import math
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sottovoce.canonical import canonical_json
from sottovoce.errors import AlreadyCharged, BudgetExceeded, LedgerError, PrivacyError, UnknownPrivacyEvent
from sottovoce.privacy import accountant
from sottovoce.privacy.accountant import epsilon
from sottovoce.privacy.calibration import plan_for
from sottovoce.privacy.events import Gaussian, NonPrivate, PoissonGaussian, merged, to_json
from sottovoce.run.configuration import Balance
from sottovoce_client.budget.ledger import Ceilings, Ledger
from sottovoce_client.budget.rows import Head, Kind, Row

RUN, OTHER = b"a" * 16, b"b" * 16
CEILINGS = Ceilings(epsilon_per_run=8.0, epsilon_lifetime=12.0, delta=1e-5)


@pytest.fixture
def plan(config):
    return plan_for(config.changed(balance=Balance.LOSS), 480)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(file):
    with Ledger.create(file) as ledger:
        yield ledger


def tampered(file, *statements, values=()):
    """Change the file as someone would who knows SQL: without the safeguards, and then with them again."""
    database = sqlite3.connect(file)
    triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement, values)
    for _, sql in triggers:
        database.execute(sql)
    database.commit()
    database.close()


def test_a_run_is_opened_charged_and_composed(ledger, plan):
    assert ledger.epsilon(1e-5) == 0
    ledger.open_run(RUN, plan, CEILINGS)
    assert ledger.epsilon(1e-5) == 0  # a promise spends nothing
    seen = []
    for number in range(1, 21):
        ledger.charge(RUN, number, plan.events(5, histogram=number == 1))
        if number in (1, 10, 20):
            seen.append(ledger.epsilon(1e-5))
    assert 0 < seen[0] < seen[1] < seen[2] == plan.epsilon
    assert ledger.spent_in(RUN) == plan.events()
    assert ledger.spent_in(OTHER) == ()
    assert [row.kind for row in ledger.rows()] == [Kind.OPEN] + [Kind.CHARGE] * 20
    assert [row.number for row in ledger.rows()] == list(range(1, 22))
    assert [row.round for row in ledger.rows()] == list(range(21))
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", row.time) for row in ledger.rows())
    ledger.close_run(RUN)
    assert ledger.rows()[-1].round == 0


def test_the_file_is_the_owners_alone_and_a_new_one_never_replaces_it(file, plan):
    Ledger.create(file).close()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["ledger.sqlite"]
    with pytest.raises(LedgerError, match="A ledger already exists"):
        Ledger.create(file)
    file.chmod(0o640)
    with pytest.raises(LedgerError, match="can be read by others") as caught:
        Ledger(file)
    assert caught.value.hint == "chmod 600 ledger.sqlite"
    assert caught.value.exit_code == 3


def opened(folder):
    """Files in a folder that this process has open."""
    links = (link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return [path for path in links if path.is_relative_to(folder)]


def test_no_file_stays_open_whatever_happens(file):
    with Ledger.create(file):
        assert opened(file.parent)
    assert not opened(file.parent)
    file.write_bytes(b"")
    with pytest.raises(LedgerError) as caught:
        Ledger(file)
    assert caught.traceback  # which would keep an open file alive
    assert not opened(file.parent)


def test_a_new_ledger_is_made_beside_its_place_and_needs_no_other_folder(file, monkeypatch):
    """Only within a file system can it be put there at once."""
    monkeypatch.setattr(tempfile, "tempdir", str(file.parent / "nowhere"))
    Ledger.create(file).close()


@pytest.mark.parametrize(("version", "is_read"), [(-1, False), (0, True), (1, True), (2, False)])
def test_only_versions_that_are_known_are_read(file, version, is_read):
    Ledger.create(file).close()
    sqlite3.connect(file).execute(f"PRAGMA user_version = {version}")
    if is_read:
        Ledger(file).close()
    else:
        with pytest.raises(LedgerError, match=f"has version {version}"):
            Ledger(file)


def test_another_process_is_waited_for_as_long_as_was_said(file):
    Ledger.create(file).close()
    with Ledger(file, patience=0.25) as ledger:
        assert ledger._database.execute("PRAGMA busy_timeout").fetchone() == (250,)


def test_a_charge_is_on_the_disk_when_it_returns(ledger):
    # EXTRA (3): every commit is flushed, and so is the removal of its journal. No test can cut the power.
    assert ledger._database.execute("PRAGMA synchronous").fetchone() == (3,)
    assert ledger._database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_round_is_charged_once(ledger, plan):
    ledger.open_run(RUN, plan, CEILINGS)
    ledger.charge(RUN, 1, plan.events(5))
    before = ledger.rows()
    for events in (plan.events(5), plan.events(1, histogram=False)):
        with pytest.raises(AlreadyCharged, match="Round 1"):
            ledger.charge(RUN, 1, events)
    assert ledger.rows() == before


def test_a_run_cannot_spend_more_than_its_plan(ledger, plan):
    ledger.open_run(RUN, plan, CEILINGS)
    ledger.charge(RUN, 1, plan.events(60))
    before = ledger.rows()
    for events in (
        plan.events(41, histogram=False),
        plan.events(1),  # a second histogram
        [PoissonGaussian(plan.sample_rate, plan.noise_multiplier * 0.99, 1)],
        [NonPrivate()],
    ):
        with pytest.raises(BudgetExceeded, match="more than the run's plan"):
            ledger.charge(RUN, 2, events)
    assert ledger.rows() == before
    ledger.charge(RUN, 2, plan.events(40, histogram=False))


def test_only_an_open_run_is_charged(ledger, plan):
    with pytest.raises(LedgerError, match="Only an open run can be charged"):
        ledger.charge(RUN, 1, plan.events(5))
    ledger.open_run(RUN, plan, CEILINGS)
    ledger.close_run(RUN)
    for act in (
        lambda: ledger.charge(RUN, 1, plan.events(5)),
        lambda: ledger.close_run(RUN),
        lambda: ledger.open_run(RUN, plan, CEILINGS),
        lambda: ledger.close_run(OTHER),
    ):
        with pytest.raises(LedgerError):
            act()
    assert len(ledger.rows()) == 2


def test_a_run_that_was_charged_and_closed_is_neither_opened_charged_nor_closed_again(ledger, plan):
    ledger.open_run(RUN, plan, CEILINGS)
    for number in (1, 2):
        ledger.charge(RUN, number, plan.events(5, histogram=number == 1))
    ledger.close_run(RUN)
    for act in (
        lambda: ledger.open_run(RUN, plan, CEILINGS),
        lambda: ledger.charge(RUN, 3, plan.events(5, histogram=False)),
        lambda: ledger.close_run(RUN),
    ):
        with pytest.raises(LedgerError, match=r"Only an open run|closed and cannot be opened"):
            act()
    assert len(ledger.rows()) == 4


def test_a_run_is_opened_again_after_a_restart_with_the_same_plan_only(ledger, file, plan, config):
    ledger.open_run(RUN, plan, CEILINGS)
    ledger.charge(RUN, 1, plan.events(5))
    with Ledger(file) as again:
        again.open_run(RUN, plan, CEILINGS)
        assert len(again.rows()) == 2
        with pytest.raises(LedgerError, match="opened with another plan"):
            again.open_run(RUN, plan_for(config, 480), CEILINGS)


def test_ceilings_of_a_run_and_of_a_lifetime_hold(ledger, plan):
    with pytest.raises(BudgetExceeded, match=r"above its ceiling of 7\.9"):
        ledger.open_run(RUN, plan, Ceilings(7.9, 100.0, 1e-5))
    with pytest.raises(BudgetExceeded, match="δ = 1e-05 is above"):
        ledger.open_run(RUN, plan, Ceilings(100.0, 100.0, 1e-6))
    assert ledger.rows() == ()
    ledger.open_run(RUN, plan, replace(CEILINGS, epsilon_per_run=plan.epsilon))
    # What is promised to an open run counts like what is spent.
    with pytest.raises(BudgetExceeded, match=r"lifetime ε would be 11\.88") as caught:
        ledger.open_run(OTHER, plan, Ceilings(8.0, 11.0, 1e-5))
    assert caught.value.hint
    ledger.open_run(OTHER, plan, CEILINGS)


def test_an_abort_returns_what_was_not_charged_and_nothing_else(ledger, plan):
    narrow = Ceilings(8.0, 9.5, 1e-5)
    ledger.open_run(RUN, plan, narrow)
    ledger.charge(RUN, 1, plan.events(10))
    spent = ledger.epsilon(1e-5)
    with pytest.raises(BudgetExceeded):
        ledger.open_run(OTHER, plan, narrow)
    ledger.close_run(RUN)
    assert ledger.epsilon(1e-5) == spent > 0
    together = epsilon([*plan.events(10), *plan.events()], 1e-5)
    with pytest.raises(BudgetExceeded):
        ledger.open_run(OTHER, plan, Ceilings(8.0, together * 0.999, 1e-5))
    ledger.open_run(OTHER, plan, Ceilings(8.0, together, 1e-5))
    ledger.charge(OTHER, 1, plan.events())
    assert ledger.epsilon(1e-5) == together > plan.epsilon


def test_no_privacy_needs_permission_and_costs_everything(ledger, plan):
    with pytest.raises(BudgetExceeded, match="no privacy"):
        ledger.open_run(RUN, None, CEILINGS)
    ledger.open_run(RUN, None, Ceilings(8.0, 12.0, 1e-5, allow_non_private=True))
    ledger.charge(RUN, 1, [NonPrivate()])
    ledger.charge(RUN, 2, [NonPrivate()])
    assert ledger.epsilon(1e-5) == math.inf
    with pytest.raises(BudgetExceeded, match="lifetime ε would be inf"):
        ledger.open_run(OTHER, plan, CEILINGS)
    ledger.open_run(OTHER, plan, Ceilings(8.0, math.inf, 1e-5))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET round = 7",
        "DELETE FROM ledger",
        "INSERT OR REPLACE INTO ledger VALUES (1, '', 'close', '', 0, '[]', x'00')",
        "INSERT INTO ledger VALUES (9, '', 'close', '', 0, '[]', x'00')",
    ],
)
def test_rows_are_only_ever_added_at_the_end(ledger, file, plan, statement):
    ledger.open_run(RUN, plan, CEILINGS)
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|only grows"):
        sqlite3.connect(file).execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET round = 7 WHERE number = 2",
        "UPDATE ledger SET events = '[]' WHERE number = 2",
        "UPDATE ledger SET time = '2020-01-01T00:00:00+00:00' WHERE number = 2",
        "UPDATE ledger SET hash = x'00' WHERE number = 3",
        "DELETE FROM ledger WHERE number = 2",
        "UPDATE ledger SET kind = 'refund' WHERE number = 2",
        "UPDATE ledger SET events = 'nonsense' WHERE number = 2",
        "UPDATE ledger SET run = 'xyz' WHERE number = 2",
    ],
)
def test_tampering_is_found(ledger, file, plan, statement):
    ledger.open_run(RUN, plan, CEILINGS)
    for number in (1, 2):
        ledger.charge(RUN, number, plan.events(5, histogram=number == 1))
    tampered(file, statement)
    with pytest.raises(LedgerError, match=r"was altered|cannot be read"):
        ledger.verify()
    with pytest.raises(LedgerError):
        Ledger(file)


def test_removed_safeguards_are_found(ledger, file):
    sqlite3.connect(file).execute("DROP TRIGGER no_delete")
    with pytest.raises(LedgerError, match="safeguards were removed"):
        Ledger(file)


def test_an_unknown_event_is_never_skipped(ledger, file, plan):
    ledger.open_run(RUN, plan, CEILINGS)
    ledger.charge(RUN, 1, plan.events(5))
    tampered(file, 'UPDATE ledger SET events = \'[{"kind": "shuffled"}]\' WHERE number = 2')
    for act in (
        lambda: Ledger(file),
        lambda: ledger.epsilon(1e-5),
        lambda: ledger.charge(RUN, 2, plan.events(5, histogram=False)),
        lambda: ledger.open_run(OTHER, plan, CEILINGS),
    ):
        with pytest.raises(UnknownPrivacyEvent, match="kind is unknown"):
            act()


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "torn", "other database", "folder", "name"])
def test_a_ledger_that_cannot_be_read_stops_everything(file, plan, damage):
    with Ledger.create(file) as ledger:
        ledger.open_run(RUN, plan, CEILINGS)
    content = file.read_bytes()
    file.unlink()
    match damage:
        case "empty":
            file.write_bytes(b"")
        case "text":
            file.write_text("ε = 0")
        case "torn":
            file.write_bytes(content[: len(content) // 2])
        case "other database":
            sqlite3.connect(file).execute("CREATE TABLE notes (text)")
        case "folder":
            file.mkdir()
        case "name":  # no text any more, which SQLite's own message quotes
            assert content.count(b"triggerno_update") == 1
            file.write_bytes(content.replace(b"triggerno_update", b"trigger\xeeo_update"))
    if damage != "missing":
        file.chmod(0o700 if damage == "folder" else 0o600)
    with pytest.raises(LedgerError) as caught:
        Ledger(file)
    assert str(file.parent) not in str(caught.value)
    assert damage != "name" or "it is damaged" in caught.value.message
    assert damage != "missing" or not file.exists()


def test_what_the_system_says_is_passed_on_without_the_place(file):
    file.write_bytes(b"")
    with pytest.raises(LedgerError, match="Not a directory") as caught:
        Ledger(file / "ledger.sqlite")
    assert str(file) not in str(caught.value)


def test_bytes_flipped_anywhere_never_change_the_sum_unnoticed(file, plan):
    with Ledger.create(file) as ledger:
        ledger.open_run(RUN, plan, CEILINGS)
        ledger.charge(RUN, 1, plan.events(5))
        spent = ledger.spent()
    content = file.read_bytes()
    found = 0
    for position in range(0, len(content), 97):
        file.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        try:
            with Ledger(file) as damaged:
                assert damaged.spent() == spent
        except PrivacyError:
            found += 1
    assert found


def test_a_locked_ledger_stops_everything(ledger, file, plan):
    ledger.open_run(RUN, plan, CEILINGS)
    rival = sqlite3.connect(file, isolation_level=None)
    rival.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError, match="locked"):
        Ledger(file, patience=0.05)
    rival.execute("COMMIT")
    with Ledger(file, patience=0.05) as patient:
        rival.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="locked"):
            patient.charge(RUN, 1, plan.events(5))
        rival.execute("ROLLBACK")
        patient.charge(RUN, 1, plan.events(5))
        assert len(patient.rows()) == 2


def test_a_full_disk_stops_everything_and_loses_nothing(file, plan):
    with Ledger.create(file) as ledger:
        ledger.open_run(RUN, plan, CEILINGS)
        before = ledger.rows()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            with pytest.raises(LedgerError, match="training does not start"):
                ledger.charge(RUN, 1, plan.events(5))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        assert ledger.rows() == before
        ledger.charge(RUN, 1, plan.events(5))
    with Ledger(file) as again:
        assert len(again.rows()) == 2


def test_rivals_cannot_charge_one_round_twice(file, plan):
    with Ledger.create(file) as ledger:
        ledger.open_run(RUN, plan, CEILINGS)
    outcomes = []

    def charge(number):
        with Ledger(file) as mine:
            try:
                mine.charge(RUN, number, plan.events(5, histogram=False))
                outcomes.append(number)
            except AlreadyCharged:
                outcomes.append(None)

    threads = [threading.Thread(target=charge, args=(1 + index % 3,)) for index in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for number in outcomes if number) == [1, 2, 3]
    assert len(outcomes) == 9
    with Ledger(file) as ledger:
        assert [row.round for row in ledger.rows()][1:] == [number for number in outcomes if number]


CHARGING = """
import sys
from pathlib import Path
from sottovoce.privacy.events import PoissonGaussian
from sottovoce_client.budget.ledger import Ledger

with Ledger(Path(sys.argv[1])) as ledger:
    for number in range(1, 10_000):
        ledger.charge(b"a" * 16, number, [PoissonGaussian(0.001, 1.0, 1)])
        print(number, flush=True)
"""


@pytest.mark.slow
def test_a_killed_label_has_charged_all_that_it_may_have_trained(file, plan, config):
    small = plan_for(config.changed(rounds=10_000, local_steps=1, batch_size=1, epsilon=8.0), 1000)
    plan = type(small)(**{**vars(small), "noise_multiplier": 1.0})
    assert plan.sample_rate == 0.001
    with Ledger.create(file) as ledger:
        ledger.open_run(RUN, plan, CEILINGS)
    script = textwrap.dedent(CHARGING)
    done = 0
    for _ in range(4):
        # The script starts over each time, so that it must get past the rounds that are charged already.
        resumed = script.replace("range(1,", f"range({done + 1},")
        process = subprocess.Popen([sys.executable, "-c", resumed, str(file)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(20):
            last = int(process.stdout.readline())
        time.sleep(0.003)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split("\n")
        process.wait()
        complete = [int(line) for line in rest[:-1] if line]
        last = max([last, *complete])
        with Ledger(file) as ledger:
            rounds = [row.round for row in ledger.rows() if row.kind is Kind.CHARGE]
        # Everything that was reported as charged is there, and at most one round that was not reported yet.
        assert rounds == list(range(1, len(rounds) + 1))
        assert len(rounds) - last in (0, 1)
        done = len(rounds)


def test_charging_stays_cheap_over_a_long_life(file, calls):
    """It reads the run's rounds, and composes no privacy loss distribution."""
    rounds = 60
    plan_events = [PoissonGaussian(0.1, 5.0, rounds)]

    class Plan:
        delta = 1e-5

        @property
        def whole_run(self):
            return plan_events

    with Ledger.create(file) as ledger:
        ledger.open_run(RUN, Plan(), CEILINGS)  # type: ignore[arg-type]
        for number in range(rounds - 1):
            ledger.charge(RUN, number, [PoissonGaussian(0.1, 5.0, 1)])
        with calls() as counted:
            ledger.charge(RUN, rounds - 1, [PoissonGaussian(0.1, 5.0, 1)])
        assert counted.total() < 250 * rounds
        assert not any(name.startswith("PLDAccountant") for name in counted)
        assert ledger.spent() == tuple(plan_events)


def test_a_histogram_alone_can_be_charged(ledger, plan):
    ledger.open_run(RUN, plan, CEILINGS)
    ledger.charge(RUN, 0, [Gaussian(plan.histogram_noise)])
    ledger.charge(RUN, 1, plan.events(5, histogram=False))
    assert ledger.spent_in(RUN) == plan.events(5)


def test_opening_and_charging_cost_the_same_at_a_hundred_and_at_ten_thousand_rows(tmp_path, calls):
    def cost(rows):
        file = tmp_path / f"{rows}.sqlite"
        Ledger.create(file).close()
        _filled(file, rows)
        with calls() as counted, Ledger(file) as ledger:
            ledger.charge(RUN, 1, [PoissonGaussian(0.1, 5.0, 1)])
        return counted.total()

    assert cost(10_000) <= cost(1_000) * 1.01


def _filled(file, rows):
    """A long life: one open run, and closed ones of ten rounds each before it."""
    step = (PoissonGaussian(0.1, 5.0, 1),)
    whole = (PoissonGaussian(0.1, 5.0, 10),)
    database = sqlite3.connect(file)
    previous, made = b"sottovoce/ledger/1", []
    for number in range(1, rows + 1):
        block, place = divmod(number - 1, 12)
        last = number == rows
        run = RUN if last else block.to_bytes(16)
        kind = Kind.OPEN if last or place == 0 else Kind.CLOSE if place == 11 else Kind.CHARGE
        events = whole if kind is Kind.OPEN else step if kind is Kind.CHARGE else ()
        row = Row(number, "2026-01-01T00:00:00+00:00", kind, run, place if kind is Kind.CHARGE else 0, events)
        previous = row.hash(previous)
        body = canonical_json([to_json(event) for event in events]).decode()
        made.append((number, row.time, kind.value, run.hex(), row.round, body, previous))
    database.executemany("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)", made)
    database.commit()
    database.close()


def test_a_changed_row_far_back_is_found_where_it_counts(file, plan):
    Ledger.create(file).close()
    _filled(file, 1000)
    tampered(file, "UPDATE ledger SET events = '[]' WHERE number = 2")
    with Ledger(file) as ledger:
        for act in (
            ledger.verify,
            ledger.rows,
            ledger.spent,
            lambda: ledger.epsilon(1e-5),
            lambda: ledger.committed(1e-5),
            lambda: ledger.spent_in(bytes(16)),
            lambda: ledger.open_run(OTHER, plan, CEILINGS),
        ):
            with pytest.raises(LedgerError, match="Row 2 of the ledger was altered") as caught:
                act()
            assert caught.value.hint
    tampered(file, "DELETE FROM ledger WHERE number = 2")
    with Ledger(file) as ledger, pytest.raises(LedgerError, match=r"cannot be read|was altered"):
        ledger.rows()


def test_joining_beside_many_different_runs_composes_no_distributions_and_locks_nobody_out(file, monkeypatch):
    """Below the ceiling by the cheaper bound; another process charges while this one composes."""
    generous = Ceilings(epsilon_per_run=100.0, epsilon_lifetime=1e4, delta=1e-5)
    made = [_Plan(PoissonGaussian(0.1, 4.0 + number / 50, 30)) for number in range(4)]
    with Ledger.create(file) as ledger, Ledger(file, patience=0.0) as other:
        for number, each in enumerate(made):
            ledger.open_run(number.to_bytes(16), each, generous)
        real, composing = accountant.is_at_most, []

        def compose(*arguments):
            if not composing:
                other.charge(bytes(16), 1, [PoissonGaussian(0.1, 4.0, 1)])
            composing.append(arguments)
            return real(*arguments)

        distributions, composed = accountant._epsilon_pld, []
        monkeypatch.setattr(accountant, "is_at_most", compose)
        monkeypatch.setattr(accountant, "_epsilon_pld", lambda *of: composed.append(of[0]) or distributions(*of))
        new = PoissonGaussian(0.1, 6.0, 30)
        ledger.open_run(RUN, _Plan(new), generous)
        assert len(composing) == 2  # once more, with what the other one charged meanwhile
        assert composed == [(new,)]  # the new run alone, not all of them together
        assert [row.kind for row in ledger.rows()] == [Kind.OPEN] * 4 + [Kind.CHARGE, Kind.OPEN]


def test_what_another_process_charges_meanwhile_is_composed_with_the_rest(file, plan, monkeypatch):
    composed = []

    def compose(ceiling, events, delta):
        if not composed:
            other.charge(OTHER, 1, plan.events(5))
            other.close_run(OTHER)
        composed.append(merged(events))
        return True

    with Ledger.create(file) as ledger, Ledger(file, patience=0.0) as other:
        other.open_run(OTHER, plan, CEILINGS)
        monkeypatch.setattr(accountant, "is_at_most", compose)
        ledger.open_run(RUN, plan, CEILINGS)
    assert composed == [merged(2 * plan.events()), merged((*plan.events(5), *plan.events()))]


class _Plan:
    """As much of a plan as the ledger looks at."""

    delta = 1e-5

    def __init__(self, *events):
        self.whole_run = events


def test_a_new_ledger_was_known_as_empty_and_another_first_row_is_found(file, plan):
    with Ledger.create(file) as ledger:
        empty = ledger.head
        ledger.open_run(RUN, plan, CEILINGS)
        ledger.expect(empty)
        ledger.expect(ledger.head)
        with pytest.raises(LedgerError, match="older copy"):
            ledger.expect(Head(1, bytes(32)))


def test_damage_that_no_row_shows_is_found(file, plan):
    with Ledger.create(file) as ledger:
        ledger.open_run(RUN, plan, CEILINGS)
        (page,) = ledger._database.execute("SELECT rootpage FROM sqlite_master WHERE type = 'index'").fetchone()
        (size,) = ledger._database.execute("PRAGMA page_size").fetchone()
    content = bytearray(file.read_bytes())
    content[(page - 1) * size + 5] ^= 0x55  # in the header of the index that finds a run's rows
    file.write_bytes(content)
    with Ledger(file) as ledger:
        assert len(ledger.rows()) == 1
        with pytest.raises(LedgerError, match=r"damaged|malformed"):
            ledger.verify()


@pytest.mark.parametrize("older", ["cut off", "another"])
def test_an_older_copy_is_found_by_a_head_that_was_noted(file, plan, older, tmp_path):
    with Ledger.create(file) as ledger:
        assert ledger.head == Head(0, b"sottovoce/ledger/1")
        ledger.open_run(RUN, plan, CEILINGS)
        copy = file.read_bytes()
        ledger.charge(RUN, 1, plan.events(5))
        noted = ledger.head
        ledger.expect(noted)
        ledger.charge(RUN, 2, plan.events(5, histogram=False))
        ledger.expect(noted)
    file.write_bytes(copy)
    with Ledger(file) as ledger:
        if older == "another":
            ledger.charge(RUN, 7, plan.events(5))
        with pytest.raises(LedgerError, match="older copy"):
            ledger.expect(noted)


def test_statistics_of_sqlite_are_no_tampering_and_text_for_a_hash_is(file, plan):
    with Ledger.create(file) as ledger:
        ledger.open_run(RUN, plan, CEILINGS)
    sqlite3.connect(file).execute("ANALYZE")
    with Ledger(file) as ledger:
        ledger.charge(RUN, 1, plan.events(5))
    tampered(file, "UPDATE ledger SET hash = 'text' WHERE number = 2")
    with pytest.raises(LedgerError, match="cannot be read"):
        Ledger(file)
