"""`label doctor` says what is wrong, repairs what needs no decision, and touches nothing that is right."""

import json
import os
import time

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.privacy.calibration import plan_for
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.home.examination import examine
from sottovoce_client.home.policy import Policy

OPEN, OVER, JOINING = (bytes([number]) * 16 for number in (1, 2, 3))
DEAD = 4_000_000  # above the largest process number that Linux gives out by default


@pytest.fixture
def home(label_home, config, agreement):
    """A label with one run under way and one that is over."""
    agreement.write(label_home.agreement_file)
    with open_ledger(label_home) as ledger:
        for run in (OPEN, OVER):
            ledger.open_run(run, plan_for(config, 100), Policy(epsilon_lifetime=100.0).ceilings)
        ledger.close_run(OVER)
    label_home.diary.closed(OVER)
    (label_home.runs / f"{OPEN.hex()}.json").write_bytes(b"{}")
    (label_home.runs / f"{OPEN.hex()}.json").chmod(0o600)
    return label_home


def doctor(home, *options):
    done = CliRunner().invoke(app, ["label", "doctor", "--json", *options, "--home", str(home.root)])
    return done.exit_code, json.loads(done.stdout)


def snapshot(home):
    return {path: path.read_bytes() for path in home.root.rglob("*") if path.is_file() and "lock" not in path.name}


def cut_diary(home):
    with home.diary.file.open("ab") as file:
        file.write(b'{"what":"joi')


def open_to_others(home):
    home.policy_file.chmod(0o644)
    home.root.chmod(0o755)


def killed_write(home):
    (home.runs / f".{OPEN.hex()}.{DEAD}.abcdefgh.json").write_bytes(b"secret")


def left_state(home):
    for suffix in ("json", "model"):
        (home.runs / f"{OVER.hex()}.{suffix}").write_bytes(b"{}")
        (home.runs / f"{OVER.hex()}.{suffix}").chmod(0o600)


def stale_promise(home):
    (home.runs / f"{OPEN.hex()}.json").unlink()


def killed_backup(home):
    (home.root / ".backup.abc").mkdir()
    os.utime(home.root / ".backup.abc", (time.time() - 7200,) * 2)


REPAIRABLE = [cut_diary, open_to_others, killed_write, left_state, stale_promise, killed_backup]


def test_nothing_is_wrong_in_a_home_under_way(home):
    before = snapshot(home)
    assert doctor(home) == (0, {"repaired": [], "found": []})
    assert doctor(home, "--repair")[0] == 0
    assert snapshot(home) == before


@pytest.mark.parametrize("damage", REPAIRABLE)
def test_what_needs_no_decision_is_repaired(home, damage):
    damage(home)
    before = snapshot(home)
    code, said = doctor(home)
    assert (code, said["repaired"]) == (1, [])
    assert all(found["repairable"] for found in said["found"])
    assert said["found"]
    assert snapshot(home) == before  # looking changes nothing
    code, said = doctor(home, "--repair")
    assert (code, said["found"]) == (0, [])
    assert said["repaired"]
    assert doctor(home)[0] == 0
    with open_ledger(home) as ledger:
        assert ledger.is_open(OPEN) == (damage is not stale_promise)
        assert not ledger.is_open(OVER)


@pytest.mark.parametrize(
    ("file", "data", "remedy"),
    [
        ("ledger.sqlite", b"torn", "label restore"),
        ("ledger.sqlite", None, "label restore"),
        ("sides.sqlite", b"torn", "label restore"),
        ("home.json", b"torn", "label restore"),
        ("policy.toml", b"= 1", "by hand"),
        ("identity.key", None, "enrol"),
        ("federation.toml", b"= 1", "label join"),
        ("confirmations.json", b"torn", "label restore"),
        (f"runs/{OPEN.hex()}.json", b"torn", f"label close {OPEN.hex()[:8]}"),
        ("diary.jsonl", b"torn\n", "label restore"),
    ],
)
def test_what_needs_a_person_is_said_with_what_is_safe_to_do(home, file, data, remedy):
    path = home.root / file
    path.unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)
        path.chmod(0o600)
    before = snapshot(home)
    code, said = doctor(home, "--repair")
    assert code == 7
    (found,) = said["found"]
    assert remedy in found["remedy"]
    assert not found["repairable"]
    assert snapshot(home) == before


def test_a_ledger_that_was_rolled_back_is_found(home):
    older = home.ledger_file.read_bytes()
    with open_ledger(home) as ledger:
        ledger.close_run(OPEN)
        home.diary.over(OPEN, after=1, ledger=ledger.head)
    home.ledger_file.write_bytes(older)
    code, said = doctor(home, "--repair")
    assert code == 7
    assert "older copy" in said["found"][0]["what"]


def test_repairs_are_refused_while_the_label_has_joined(home):
    cut_diary(home)
    with FileLock(home.root / ".join.lock"):
        done = CliRunner().invoke(app, ["label", "doctor", "--repair", "--home", str(home.root)])
        assert done.exit_code == 2
        assert "label join" in done.stderr
        assert [finding.where for finding in examine(home.root)] == ["diary.jsonl"]


def test_people_read_what_to_do(home):
    cut_diary(home)
    home.identity_file.unlink()
    done = CliRunner().invoke(app, ["label", "doctor", "--home", str(home.root)])
    assert "Repairable: diary.jsonl" in done.stdout
    assert "For you: identity.key" in done.stdout
    home.root.rename(home.root.with_name("gone"))
    assert "label restore" in CliRunner().invoke(app, ["label", "doctor", "--home", str(home.root)]).stderr
