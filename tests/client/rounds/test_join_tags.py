"""Join tags: what shows other labels that a home was put back, and what does not."""

import json
import shutil

import pytest

from sottovoce.federation.identity import Identity
from sottovoce.protocol.messages import Reveal
from sottovoce.protocol.versions import join_tag_of
from sottovoce_client.backup.archive import write_backup
from sottovoce_client.backup.restore import restore
from sottovoce_client.budget.account import run_of
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.commands.label import status
from sottovoce_client.home import diary
from sottovoce_client.home.diary import What
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.rounds import join_tags
from sottovoce_client.rounds.label import Label

ANOTHER, THIRD = bytes(16), bytes([3] * 16)


def others(here):
    """The other members' join tags in this run (hex)."""
    reveals = here.of("nonces").reveals
    return {reveal.label: join_tag_of(reveal.nonce).hex() for reveal in reveals if reveal.label != here.home.name}


def own(here):
    """This label's join tag in the run, as the others saw it."""
    (mine,) = (reveal for reveal in here.of("nonces").reveals if reveal.label == here.home.name)
    return join_tag_of(mine.nonce)


def tag_in(home, run):
    with Ledger(home.ledger_file) as ledger:
        return join_tags.join_tag(home.identity(), ledger, run)


def shown(here, message):
    """The tag in this label's nonce after another announcement of this run."""
    here.answer(message)
    return join_tag_of(here.state().participant._stage.nonce)


def test_a_label_notes_the_others_tags_once_a_run(at):
    here = at("nonces")
    here.answer()
    assert here.notes(What.JOIN_TAGS) == [{"tags": others(here)}]
    join_tags.notice(here.message, Label.open(here.home.root)._opened)
    assert here.notes(What.JOIN_TAGS) == [{"tags": others(here)}]
    assert not here.notes(What.PUT_BACK)


def test_a_set_up_that_is_repeated_shows_the_same_tag_in_another_nonce(at):
    here = at("roster")
    before = here.state().participant._stage.nonce
    assert shown(here, here.course.moments["announce"].message) == join_tag_of(before) == own(here)
    assert here.state().participant._stage.nonce != before


def test_each_run_has_a_tag_of_its_own_that_the_key_and_the_place_decide(at, tmp_path):
    here = at("train 1")
    newer = here.course.announcement()
    copy = LabelHome.open(shutil.copytree(here.home.root, tmp_path / "copy"))
    here.answer(newer)
    assert tag_in(here.home, here.run) == own(here)  # as it was when there was no newer run
    assert tag_in(here.home, newer.run) != own(here)
    Label.open(copy.root).answer(here.course.announcement().encode())
    with Ledger(copy.ledger_file) as ledger:
        (_, other) = ledger.open_runs()
    assert tag_in(copy, other) == tag_in(here.home, newer.run)
    with Ledger(copy.ledger_file) as ledger:
        assert join_tags.join_tag(Identity.generate(), ledger, other) != tag_in(copy, other)


def test_a_tag_that_was_seen_in_another_run_is_told_once_and_the_set_up_goes_on(at, caplog):
    here = at("nonces")
    tags = others(here)
    here.home.diary.join_tags(ANOTHER, {"label-2": bytes.fromhex(tags["label-2"]), "label-3": b"others"})
    assert here.answer().label == here.home.name
    join_tags.notice(here.message, Label.open(here.home.root)._opened)
    assert here.notes(What.PUT_BACK) == [{"runs": {"label-2": ANOTHER.hex()}}]
    assert "The home of label-2 was put back" in caplog.text
    assert "label-3" not in caplog.text


def test_tags_of_another_label_raise_no_alarm(at):
    here = at("nonces")
    here.home.diary.join_tags(ANOTHER, {"label-3": bytes.fromhex(others(here)["label-2"])})
    here.answer()
    assert not here.notes(What.PUT_BACK)


def test_a_label_of_the_former_release_has_no_tag(at):
    here = at("nonces")
    opened = Label.open(here.home.root)._opened
    first, second, *rest = here.message.reveals
    fields = {"run": second.run, "roster": second.roster, "label": second.label, "nonce": bytes(32)}
    unmarked = Reveal.sign(here.course.identities[second.label], **fields)
    join_tags.notice(here.changed(reveals=(first, unmarked, *rest)), opened)
    (note,) = here.notes(What.JOIN_TAGS)
    assert second.label not in note["tags"]


def test_status_says_whose_home_was_put_back_and_what_to_do(at, capsys, monkeypatch):
    here = at("nonces")
    here.home.diary.join_tags(ANOTHER, {"label-2": bytes.fromhex(others(here)["label-2"])})
    here.answer()
    account = status.account_of(here.home)
    assert run_of(account, here.run.hex()).put_back == {"label-2": ANOTHER.hex()}
    monkeypatch.setenv("COLUMNS", "200")
    status.show_status(here.home.root, as_json=False)
    assert "its ledger lacks run 00000000, so its home was put back: tell its people" in capsys.readouterr().out
    status.show_status(here.home.root, as_json=True)
    (wrong,) = json.loads(capsys.readouterr().out)["gone_wrong"]
    assert wrong["put_back"] == {"label-2": ANOTHER.hex()}


def test_the_newest_backup_brings_a_label_back_without_alarm(at, tmp_path):
    here = at("train 1")
    write_backup(here.home, tmp_path / "backup.tar.gz", keys=True)
    restore(tmp_path / "backup.tar.gz", tmp_path / "again")
    restored = LabelHome.open(tmp_path / "again")
    newer = here.course.announcement()
    Label.open(restored.root).answer(newer.encode())
    assert tag_in(restored, newer.run) != own(here)


@pytest.mark.parametrize("damaged", [{"tags": []}, {"tags": {"label-2": 1}}, {}])
def test_a_damaged_note_is_passed_over(at, damaged):
    here = at("nonces")
    here.home.diary._add(What.JOIN_TAGS, ANOTHER, damaged)
    here.home.diary._add(What.PUT_BACK, here.run, {"runs": 1})
    here.answer()
    assert here.notes(What.JOIN_TAGS)[-1] == {"tags": others(here)}
    assert run_of(status.account_of(here.home), here.run.hex()).put_back == {}


def test_a_diary_that_is_shortened_keeps_the_newest_tags_and_no_refusal_drives_them_out(tmp_path, monkeypatch):
    monkeypatch.setattr(diary, "LARGEST", 1_500)
    monkeypatch.setattr(diary, "KEPT_JOIN_TAGS", 2)
    monkeypatch.setattr(diary, "KEPT_REFUSALS", 1)
    kept = diary.Diary(tmp_path / "diary.jsonl")
    for number in range(4):
        kept.join_tags(bytes([number] * 16), {"label-2": bytes([number] * 6)})
    for number in range(20):
        kept.round_declined(THIRD, number, "hours")
    runs = [note.run for note in kept.notes() if note.what is What.JOIN_TAGS]
    assert runs == [(bytes([2] * 16)).hex(), THIRD.hex()]
    assert kept.join_tags(ANOTHER, {"label-2": bytes([3] * 6)}) == {"label-2": THIRD.hex()}
