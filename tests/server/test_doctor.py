"""`server doctor` says what is wrong in a coordinator's home, and repairs what needs no decision."""

import json
import os

import pytest
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.protocol.messages import Announcement
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest
from sottovoce_server.home.runs import Order, RunFolder

DEAD = 4_000_000  # above the largest process number that Linux gives out by default


@pytest.fixture
def run(home):
    config = configure_run(RunRequest(task="style", family="svm"), classes=("blues", "waltz"), labels=3)
    announcement = Announcement(os.urandom(16), bytes(32), config.digest, config.to_bytes())
    made = RunFolder.create(home, Order(announcement, "a", 1.0, 1.0))
    home.journal().append("announcement", {"run": made.run})
    made.report("stopped", history={"rounds": [1]})
    return made


def doctor(home, *options):
    done = CliRunner().invoke(app, ["server", "doctor", "--json", *options, "--home", str(home.root)])
    return done.exit_code, json.loads(done.stdout)


def cut_journal(home, run):
    with (home.root / "journal.jsonl").open("ab") as file:
        file.write(b'{"data":')


def killed_write(home, run):
    (run.folder / f".checkpoint.{DEAD}.abcdefgh.safetensors").write_bytes(b"")


def killed_between_renames(home, run):
    run.folder.rename(home.runs / f".{run.run}.old.{DEAD}.partial")


def half_made_run(home, run):
    (home.runs / ("ab" * 16)).mkdir(mode=0o700)


def torn_progress(home, run):
    (run.folder / "progress.json").write_bytes(b"{")


def open_to_others(home, run):
    home.signing_key_file.chmod(0o644)


REPAIRABLE = [cut_journal, killed_write, killed_between_renames, half_made_run, torn_progress, open_to_others]


def test_nothing_is_wrong_in_a_home_in_order(home, run):
    assert doctor(home, "--repair") == (0, {"repaired": [], "found": []})


@pytest.mark.parametrize("damage", REPAIRABLE)
def test_what_needs_no_decision_is_repaired(home, run, damage):
    lines = len(home.journal().verify())
    damage(home, run)
    code, said = doctor(home)
    assert (code, said["repaired"]) == ((7 if damage is open_to_others else 1), [])
    code, said = doctor(home, "--repair")
    assert (code, said["found"]) == (0, [])
    assert [folder.run for folder in RunFolder.all(home)] == [run.run]
    assert run.state == "stopped"
    assert len(home.journal().verify()) == lines + (damage is cut_journal)


@pytest.mark.parametrize(
    ("file", "data", "what"),
    [
        ("federation.toml", b"= 1", "cannot be read"),
        ("journal.jsonl", b"{}\n", "cannot be read"),
        ("signing.key", b"", "damaged"),
        ("enrolments/verve.json", b"{", "verve"),
        ("runs/{run}/checkpoint.safetensors", b"", "damaged"),
        ("runs/{run}/over.json", b"", "damaged"),
        ("runs/{run}/leave-out.json", b"", "damaged"),
    ],
)
def test_what_needs_a_person_is_said(home, run, file, data, what):
    path = home.root / file.format(run=run.run)
    path.write_bytes(data)
    path.chmod(0o600)
    code, said = doctor(home, "--repair")
    assert code == 7
    assert any(what in found["what"] for found in said["found"])
    assert not any(found["repairable"] for found in said["found"])
    assert path.read_bytes() == data


def test_a_run_of_worth_without_its_order_is_kept(home, run):
    (run.folder / "order.json").unlink()
    (run.folder / "checkpoint.safetensors").write_bytes(b"")
    assert doctor(home, "--repair")[0] == 7
    assert run.folder.exists()


def test_a_run_under_way_is_left_alone(home, run):
    torn_progress(home, run)
    with run.worked_on():
        assert doctor(home, "--repair") == (0, {"repaired": [], "found": []})
