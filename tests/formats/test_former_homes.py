"""Homes, ledgers, agreements, journals, runs and releases of protocol 1 are read, or refused with the way out.

Every command is tried; none ends in a traceback. The homes were made with the code of commit 14c2a44.
"""

import json
import sqlite3

import pytest

from sottovoce.errors import ConfigurationError, LedgerError, LocalProtocolError, OtherVersion
from sottovoce.federation.enrolment import Enrolment
from sottovoce_client.budget.ledger import VERSION, Ledger
from sottovoce_client.home.confirmations import confirm
from sottovoce_client.home.diary import Diary, What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.pinning import pin
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.opened_home import OpenedHome
from sottovoce_server.home.coordinator_home import ServerHome
from sottovoce_server.home.runs import RunFolder

ENROL = "sottovoce label enrol FEDERATION"


def test_what_was_spent_stays_spent_and_what_was_noted_is_read(former):
    code, out, _ = former.run("label", "ledger", "--json")
    assert code == 0
    runs = {run["state"]: run for run in json.loads(out)["runs"]}
    assert set(runs) == {"closed", "open", "refused"}
    assert runs["open"]["run"] == former.broken_off
    assert runs["open"]["charged"] == [1, 2]
    assert runs["refused"]["reason"] == "privacy"
    assert 2 < json.loads(out)["lifetime"]["epsilon"] < 3


def test_status_says_that_the_agreement_is_of_an_earlier_version(former):
    code, out, _ = former.run("label", "status")
    assert code == 0
    assert "made by an earlier version" in out
    assert ENROL in out
    assert "made by an earlier version" in json.loads(former.run("label", "status", "--json")[1])["outdated"]


@pytest.mark.parametrize(
    "command",
    [
        ("label", "check", "@agreement"),
        ("label", "join"),
        ("label", "join", "@agreement"),
        ("label", "confirm", "north", "--fingerprint", "00" * 16),
        ("label", "confirm", "north", "@agreement", "--fingerprint", "00" * 16),
        ("label", "confirm", "north", "--withdraw", "--yes"),
        ("label", "cosign", "@release"),
        ("server", "start"),
        ("server", "train", "--classes", "blues,techno"),
        ("server", "train", "--resume", "@broken_off"),
        ("server", "stop", "@broken_off"),
        ("server", "sign"),
        ("server", "enrol", "@enrolment"),
        ("release", "verify", "@release", "--key", "@agreement"),
    ],
)
def test_what_rests_on_the_former_agreement_is_refused_with_the_way_out(former, command):
    places = {f"@{name}": getattr(former, name) for name in ("agreement", "release", "broken_off")}
    places["@enrolment"] = former.label / "enrolment.json"
    code, out, err = former.run(*(places.get(word, word) for word in command))
    assert code == 2
    assert out == ""
    assert "version" in err or "format" in err
    assert "sottovoce label enrol" in err


def test_a_run_under_way_is_closed_with_what_it_charged(former):
    code, out, _ = former.run("label", "close", former.broken_off[:6], "--yes")
    assert code == 0
    assert "2 rounds stay charged" in out


def test_the_coordinator_reads_its_journal_and_lists_its_runs(former):
    code, out, _ = former.run("server", "journal", "verify")
    assert code == 0
    assert "20 lines" in out
    assert former.run("server", "journal", "show")[0] == 0
    listed = json.loads(former.run("server", "runs", "--json")[1])
    assert sorted((each["state"], each["done"]) for each in listed) == [
        ("broke off, by another version", 0),
        ("broke off, by another version", 1),
        ("published, by another version", 2),
    ]
    home = ServerHome.open(former.server)
    with pytest.raises(OtherVersion, match=r"order \(order.json\) has version 1") as caught:
        RunFolder.of(home, former.broken_off).order()
    assert "server train" in (caught.value.hint or "")
    with pytest.raises(ConfigurationError, match="checkpoint has version 1") as caught:
        RunFolder.of(home, former.broken_off).keeper.load()
    assert "server train" in (caught.value.hint or "")


def test_a_release_is_read_and_says_what_it_does_not_state(former):
    code, out, _ = former.run("release", "verify", former.release)
    assert code == 0
    assert "east, north, west" in out
    code, out, _ = former.run("release", "show", former.release)
    assert code == 0
    assert "not stated: the release was made by a version that did not say so" in out


def test_the_way_out_leads_out(former):
    """All labels enrol anew, the coordinator puts that in place of the old enrolments and signs; the label joins."""
    others = {name: LabelHome.create(former.root / name, name=name) for name in ("north", "west")}
    (former.server / "enrolments" / "west.json").unlink()  # these two made new homes
    assert former.run("label", "enrol", "isles", "--out", former.root / "east.json")[0] == 0
    assert former.run("server", "enrol", former.root / "east.json")[0] == 0
    for name, home in others.items():
        code, _, err = former.run("server", "enrol", enrolled(former, name, home))
        assert code == (2 if name == "north" else 0)
        assert name == "west" or "remove enrolments/north.json first" in err
    (former.server / "enrolments" / "north.json").unlink()
    assert former.run("server", "enrol", former.root / "north.json")[0] == 0
    code, out, _ = former.run("server", "sign")
    assert code == 0, out
    assert former.run("server", "journal", "verify")[0] == 0  # lines of two versions, in one chain
    home = LabelHome.open(former.label)
    invitation = ServerHome.open(former.server).invitation()
    members = [each for each in invitation.agreement.members if each.name != "east"]
    confirm(home, home.identity(), "isles", members)
    pin(home, former.agreement, Policy())
    assert OpenedHome.of(home).knows_enough_of(["east", "north", "west"])
    with pytest.raises(LocalProtocolError) as caught:
        OpenedHome.of(home).states.load(bytes.fromhex(former.broken_off))
    assert "label close" in (caught.value.hint or "")


def test_a_home_stays_with_the_coordinator_of_its_former_agreement(former):
    other = ServerHome.create(former.root / "other", federation="isles", address="127.0.0.1:9092")
    homes = {name: LabelHome.create(former.root / name, name=name) for name in ("north", "west")}
    homes["east"] = LabelHome.open(former.label)
    for name, home in homes.items():
        other.enrol(Enrolment.read(enrolled(former, name, home)))
    members = [each for each in other.sign().agreement.members if each.name != "east"]
    confirm(homes["east"], homes["east"].identity(), "isles", members)
    with pytest.raises(ConfigurationError, match="joined a federation of another coordinator"):
        pin(homes["east"], other.invitation_file, Policy())


def enrolled(former, name, home):
    """A file with the enrolment of a label."""
    node_key = home.node_key().public
    Enrolment.sign(home.identity(), name=name, node_key=node_key, federation="isles").write(
        former.root / f"{name}.json"
    )
    return former.root / f"{name}.json"


def test_a_label_answers_nothing_under_the_former_agreement(former):
    with pytest.raises(OtherVersion, match="earlier version"):
        Label.open(former.label)


def test_what_a_newer_version_wrote_is_refused(former):
    ledger = former.label / "ledger.sqlite"
    with sqlite3.connect(ledger) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(LedgerError, match=f"version {VERSION + 1}"):
        Ledger(ledger)
    diary = Diary(former.label / "diary.jsonl")
    assert {note.what for note in diary.notes()} >= {What.JOINED, What.REFUSED}
    with diary.file.open("ab") as file:
        file.write(b'{"run":"00","time":"t","version":3,"what":"closed"}\n')
    with pytest.raises(OtherVersion, match="line of version 3"):
        diary.notes()
    journal = former.server / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"version":3}\n')
    code, _, err = former.run("server", "journal", "verify")
    assert code == 2
    assert "Line 21 of the journal is of version 3" in err
