"""Backups of a home are whole, and restoring one never loses count of what was spent."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.errors import ConfigurationError, LedgerError
from sottovoce.privacy.calibration import plan_for
from sottovoce_client.backup import archive as archive_module
from sottovoce_client.backup.archive import DESCRIPTION, KEYS, write_backup
from sottovoce_client.backup.restore import restore
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.budget.rows import Kind
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy

RUN = bytes(range(16))


@pytest.fixture
def plan(config):
    return plan_for(config, 100)


@pytest.fixture
def home(label_home, config, plan):
    """A label in the second round of a run."""
    with open_ledger(label_home) as ledger:
        ledger.open_run(RUN, plan, Policy(epsilon_lifetime=100.0).ceilings)
        label_home.diary.joined(RUN, config, federation="test", epsilon=4.0, delta=1e-5, ledger=ledger.head)
        ledger.charge(RUN, 1, plan.events(1))
    write_state(label_home)
    return label_home


def write_state(home):
    newest = rows(home)[-1]
    with open_ledger(home) as ledger:
        head = ledger.head
    assert head.number == newest.number
    (home.runs / f"{RUN.hex()}.json").write_text(f'{{"histogram":null,"ledger":[{head.number},"{head.hash.hex()}"]}}')


def rows(home):
    with open_ledger(home) as ledger:
        return ledger.rows()


def spent(home):
    with open_ledger(home) as ledger:
        return ledger.spent(), ledger.epsilon(1e-5)


def charge(home, plan, number):
    with open_ledger(home) as ledger:
        ledger.charge(RUN, number, plan.events(1))
    write_state(home)


def test_a_backup_holds_a_whole_home_but_keys_and_runs(home, tmp_path):
    backup = write_backup(home, tmp_path / "copy.tar.gz")
    assert (tmp_path / "copy.tar.gz").stat().st_mode & 0o777 == 0o600
    with tarfile.open(tmp_path / "copy.tar.gz") as opened:
        names = opened.getnames()
    assert names == [DESCRIPTION, *sorted(backup.files)]
    assert {"ledger.sqlite", "sides.sqlite", "diary.jsonl", "policy.toml", "split.key", "home.json"} <= set(names)
    assert not {*KEYS} & set(names)
    assert {*KEYS} <= write_backup(home, tmp_path / "keys.tar.gz", keys=True).files.keys()
    assert not list(home.root.glob(".backup.*"))
    with pytest.raises(ConfigurationError, match="exists already"):
        write_backup(home, tmp_path / "copy.tar.gz")


def test_a_backup_is_of_one_moment_while_another_process_writes(home, tmp_path, plan, monkeypatch):
    """The diary is copied first; a charge that comes between it and the ledger is in the ledger."""
    copy = archive_module._copy_database

    def charged_meanwhile(source, target):
        charge(home, plan, 2) if source.name == "ledger.sqlite" else None
        copy(source, target)

    monkeypatch.setattr(archive_module, "_copy_database", charged_meanwhile)
    assert write_backup(home, tmp_path / "copy.tar.gz").ledger.number == 3
    restore(tmp_path / "copy.tar.gz", tmp_path / "new")
    assert rows(LabelHome.open(tmp_path / "new"))[2].round == 2


def test_a_lost_home_comes_back_with_all_that_it_may_have_spent(home, tmp_path, plan):
    """The run may have gone on after the backup: what it could still spend counts as spent."""
    write_backup(home, tmp_path / "copy.tar.gz", keys=True)
    shutil.rmtree(home.root)
    done = restore(tmp_path / "copy.tar.gz", home.root)
    again = LabelHome.open(home.root)
    assert done.charged == (RUN.hex(),)
    assert done.keys
    assert [row.kind for row in rows(again)] == [Kind.OPEN, Kind.CHARGE, Kind.CHARGE, Kind.CLOSE]
    assert spent(again)[0] == rows(again)[0].events
    assert again.identity().public_key
    assert (again.root.stat().st_mode | again.ledger_file.stat().st_mode) & 0o077 == 0


def test_a_lost_ledger_comes_back_and_its_run_continues(home, tmp_path, plan):
    before = rows(home)
    write_backup(home, tmp_path / "copy.tar.gz")
    home.ledger_file.write_bytes(b"torn")
    (home.root / "ledger.sqlite-journal").write_bytes(b"of the torn one")
    done = restore(tmp_path / "copy.tar.gz", home.root)
    assert (done.files, done.charged) == (("ledger.sqlite",), ())
    assert rows(home) == before
    assert (home.root / "ledger.sqlite.damaged").read_bytes() == b"torn"
    charge(home, plan, 2)
    assert not list(home.root.glob(".restore.*"))


def test_an_older_backup_than_the_home_knows_is_refused_with_the_way_out(home, tmp_path, plan):
    write_backup(home, tmp_path / "old.tar.gz")
    charge(home, plan, 2)
    write_backup(home, tmp_path / "new.tar.gz")
    newest = rows(home)
    home.ledger_file.unlink()
    with pytest.raises(LedgerError, match="older than this home: The ledger lacks row 3") as caught:
        restore(tmp_path / "old.tar.gz", home.root)
    assert "newer one" in caught.value.hint
    assert not home.ledger_file.exists()
    assert restore(tmp_path / "new.tar.gz", home.root).files == ("ledger.sqlite",)
    assert rows(home) == newest


def test_a_ledger_that_was_rolled_back_is_replaced_by_the_newest(home, tmp_path, plan):
    older = home.ledger_file.read_bytes()
    charge(home, plan, 2)
    write_backup(home, tmp_path / "new.tar.gz")
    newest = rows(home)
    for forgotten in (False, True):
        home.ledger_file.write_bytes(older)
        if forgotten:  # nothing else in the home knows better
            shutil.rmtree(home.runs)
            home.diary.file.unlink()
        assert "ledger.sqlite" in restore(tmp_path / "new.tar.gz", home.root).files
        assert rows(home)[: len(newest)] == newest


def test_a_newer_home_keeps_everything(home, tmp_path, plan):
    write_backup(home, tmp_path / "old.tar.gz")
    charge(home, plan, 2)
    home.policy_file.unlink()
    before = rows(home)
    assert restore(tmp_path / "old.tar.gz", home.root).files == ("policy.toml",)
    assert rows(home) == before


def test_another_labels_backup_and_a_label_that_has_joined_are_refused(home, tmp_path):
    write_backup(home, tmp_path / "copy.tar.gz")
    other = LabelHome.create(tmp_path / "other", name="verve")
    with pytest.raises(ConfigurationError, match="'blue-note'"):
        restore(tmp_path / "copy.tar.gz", other.root)
    with FileLock(home.root / ".join.lock"), pytest.raises(ConfigurationError, match="in another process"):
        restore(tmp_path / "copy.tar.gz", home.root)


def repacked(source: Path, target: Path, change) -> Path:
    """An archive whose members (name, data) went through a function."""
    with tarfile.open(source) as old:
        members = [(member.name, old.extractfile(member).read()) for member in old]
    with tarfile.open(target, "w:gz") as new:
        for name, data in change(members):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            new.addfile(entry, io.BytesIO(data))
    return target


CHANGES = {
    "no description": lambda members: members[1:],
    "another version": lambda members: [
        (members[0][0], members[0][1].replace(b'"version":1', b'"version":9')),
        *members[1:],
    ],
    "a changed file": lambda members: [(name, data + b" " * (name == "policy.toml")) for name, data in members],
    "a missing file": lambda members: members[:-1],
    "a file twice": lambda members: [*members, members[-1]],
    "a path": lambda members: [*members, ("../escaped", b"x")],
    "an unknown name": lambda members: [
        (members[0][0], members[0][1].replace(b"policy.toml", b"policy.evil")),
        *((name.replace("policy.toml", "policy.evil"), data) for name, data in members[1:]),
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_damaged_or_forged_backup_is_refused(home, tmp_path, change):
    write_backup(home, tmp_path / "copy.tar.gz")
    bad = repacked(tmp_path / "copy.tar.gz", tmp_path / "bad.tar.gz", CHANGES[change])
    with pytest.raises(ConfigurationError, match=r"version 9|damaged"):
        restore(bad, tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"home", "copy.tar.gz", "bad.tar.gz"}


@pytest.mark.parametrize("data", [b"", b"nothing", None])
def test_what_is_no_backup_is_refused(tmp_path, data):
    if data is not None:
        (tmp_path / "copy.tar.gz").write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"no file|no backup"):
        restore(tmp_path / "copy.tar.gz", tmp_path / "new")


def test_the_commands_say_what_they_did(home, tmp_path):
    file = str(tmp_path / "copy.tar.gz")
    made = CliRunner().invoke(app, ["label", "backup", file, "--json", "--home", str(home.root)])
    assert made.exit_code == 0
    assert json.loads(made.stdout)["ledger"][0] == 2
    home.ledger_file.unlink()
    done = CliRunner().invoke(app, ["label", "restore", file, "--home", str(home.root), "--json"])
    assert json.loads(done.stdout)["files"] == ["ledger.sqlite"]
    again = CliRunner().invoke(app, ["label", "restore", file, "--home", str(home.root)])
    assert "nothing: the home has everything" in again.stdout
    assert "allowed again" not in again.stderr
    new = CliRunner().invoke(app, ["label", "restore", file, "--home", str(tmp_path / "new")])
    assert "in full" in new.stderr
    assert "identity.key" in new.stderr
    assert "allowed again: check policy.toml" in new.stderr
