"""`sottovoce label check|confirm|confirmations|enrol`: who is a member, who is real, and what has changed."""

import json
from dataclasses import replace

import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.confirmation import Confirmation, Withdrawal, read_confirmations, write_confirmations
from sottovoce.federation.enrolment import Enrolment
from sottovoce.federation.fingerprint import as_hex, as_words, fingerprint, from_hex, from_words
from sottovoce.federation.identity import Identity
from sottovoce_client.home.confirmations import confirm, confirmed_by
from sottovoce_client.home.pinning import pin
from sottovoce_client.home.policy import Policy


@pytest.fixture
def words(agreement):
    """What each label's people would read out."""
    return {member.name: as_words(fingerprint(member.name, member.public_key)) for member in agreement.members}


def test_a_fingerprint_is_twelve_words_that_read_back():
    value = fingerprint("verve", bytes(32))
    spoken = as_words(value)
    assert len(spoken.split()) == 12
    assert from_words(f"  {spoken.upper()}") == value
    assert from_hex(as_hex(value).upper()) == value
    assert value != fingerprint("verbe", bytes(32))
    assert value != fingerprint("verve", bytes(31) + b"\x01")


@pytest.mark.parametrize("text", ["", "abandon", "zoo " * 12, "not a word in the list at all but twelve of them here"])
def test_what_was_misheard_is_no_fingerprint(text):
    with pytest.raises(ConfigurationError, match="not a fingerprint"):
        from_words(text)


def test_check_shows_every_members_fingerprint_and_that_nobody_is_confirmed(as_json, run, invite, words):
    code, found = as_json("check", invite())
    assert code == 2
    assert {each["name"]: each["words"] for each in found["members"]} == words
    assert found["confirmed"] == 0
    assert found["confirmed_needed"] == 2
    assert any("0 of the other labels are confirmed" in obstacle for obstacle in found["obstacles"])
    _, out, _ = run("check", invite())
    for spoken in words.values():
        assert spoken in out
    assert out.count("NOT CONFIRMED") == 3


def test_the_right_words_confirm_a_label_and_other_words_do_not(run, as_json, label_home, invite, words):
    file = invite()
    code, _, err = run("confirm", "label-0", file, "--words", words["label-1"])
    assert code == 3
    assert "not the fingerprint of 'label-0'" in err
    assert not label_home.confirmations_file.exists()
    code, out, _ = run("confirm", "label-0", file, "--words", words["label-0"])
    assert code == 0
    assert "1 of the other labels are confirmed; 2 must be" in out
    code, _, _ = run("confirm", "label-2", file, "--fingerprint", from_words(words["label-2"]).hex())
    assert code == 0
    _, found = as_json("check", file)
    by = {each["name"]: each["confirmed_by"] for each in found["members"]}
    assert by == {"blue-note": [], "label-0": ["blue-note"], "label-1": [], "label-2": ["blue-note"]}
    assert not any("confirmed" in obstacle for obstacle in found["obstacles"])


def test_without_a_terminal_somebody_must_say_what_was_read_out(run, invite):
    code, _, err = run("confirm", "label-0", invite())
    assert code == 2
    assert "this is not a terminal" in err


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 3), ("", 3)])
def test_a_person_is_asked_to_compare(run, label_home, invite, monkeypatch, words, answer, code):
    monkeypatch.setattr("os.isatty", lambda _: True)
    found, out, _ = run("confirm", "label-0", invite(), input=f"{answer}\n")
    assert found == code
    assert words["label-0"] in out
    assert label_home.confirmations_file.exists() is (code == 0)


@pytest.mark.parametrize(("name", "message"), [("blue-note", "cannot confirm itself"), ("verve", "has no label")])
def test_only_another_member_can_be_confirmed(run, invite, name, message):
    code, _, err = run("confirm", name, invite(), "--fingerprint", "00" * 16)
    assert code == 2
    assert message in err


def test_confirmations_go_from_label_to_label(run, as_json, label_home, invite, identities, agreement, tmp_path):
    """Two labels that we have confirmed vouch for the third."""
    confirm(label_home, label_home.identity(), "test", agreement.members[1:3])
    label_home.policy_file.write_text("least_confirmed = 3\n")
    assert as_json("check", invite())[1]["confirmed"] == 2
    third = agreement.members[3]
    for by in ("label-0", "label-1"):
        theirs = [
            Confirmation.sign(identities[by], federation="test", by=by, member=each)
            for each in (third, agreement.members[0])
        ]
        write_confirmations(tmp_path / f"{by}.json", theirs)
    code, out, _ = run("confirmations", tmp_path / "label-0.json", tmp_path / "label-1.json")
    assert code == 0
    assert "4 confirmations" in out
    _, found = as_json("check", invite())
    members = {each["name"]: each for each in found["members"]}
    assert members["label-2"]["confirmed_by"] == ["label-0", "label-1"]
    assert [name for name, each in members.items() if each["has_confirmed_us"]] == ["label-0", "label-1"]
    assert run("confirmations", "--out", tmp_path / "ours.json")[0] == 0
    assert {each.name for each in read_confirmations(tmp_path / "ours.json")} == {"label-0", "label-1"}


def test_a_forged_confirmation_is_refused(run, identities, agreement, tmp_path):
    made = Confirmation.sign(identities["label-0"], federation="test", by="label-0", member=agreement.members[2])
    write_confirmations(tmp_path / "theirs.json", [made])
    text = (tmp_path / "theirs.json").read_text()
    for change in (
        text.replace("label-1", "label-2"),
        text.replace('"test"', '"rest"'),
        text.replace(": 2,", ": 3,", 1),
    ):
        (tmp_path / "theirs.json").write_text(change)
        code, _, err = run("confirmations", tmp_path / "theirs.json")
        assert code == 2, err


def test_an_agreement_carries_confirmations_into_the_home(label_home, invite, identities, agreement, confirmed):
    about = Confirmation.sign(identities["label-1"], federation="test", by="label-1", member=agreement.members[0])
    pin(label_home, invite(confirmations=[about]), Policy())
    assert about in read_confirmations(label_home.confirmations_file)
    assert set(confirmed_by(label_home, agreement)) == {"label-0", "label-1", "label-2"}


def test_check_says_what_changed_since_the_last_agreement(run, as_json, label_home, invite, agreement, confirmed):
    assert as_json("check", invite())[1]["changed"] is None
    pin(label_home, invite(), Policy())
    assert as_json("check", invite())[1]["changed"] == []
    new, rekeyed = Identity.generate(), Identity.generate()
    members = (
        agreement.members[0],
        Member("label-1", rekeyed.public_key),
        agreement.members[3],
        Member("verve", new.public_key),
    )
    changed = replace(agreement, members=members, n_min=4)
    code, found = as_json("check", invite(changed, also=[new, rekeyed]))
    assert code == 2
    assert found["changed"] == ["added: verve", "removed: label-0", "another key: label-1", "n_min: 3 became 4"]
    assert found["confirmed"] == 1  # neither the new label nor the new key
    _, out, _ = run("check", invite(changed, also=[new, rekeyed]))
    assert "another key: label-1" in out


def test_an_agreement_of_the_first_format_is_refused_with_the_way_out(run, invite):
    file = invite()
    file.write_text(file.read_text().replace("format = 2\n", ""))
    code, _, err = run("join", file)
    assert code == 2
    assert "does not have format" in err
    assert "label enrol" in err


def test_an_enrolment_of_the_first_version_is_refused_with_the_way_out(run, label_home, tmp_path):
    code, _, _ = run("enrol", "isles", "--out", tmp_path / "new.json")
    assert code == 0
    made = Enrolment.read(tmp_path / "new.json")
    assert (made.name, made.federation, made.identity_key) == ("blue-note", "isles", label_home.identity().public_key)
    values = json.loads((tmp_path / "new.json").read_text())
    old = {name: value for name, value in values.items() if name != "federation"} | {"version": 1}
    (tmp_path / "old.json").write_text(json.dumps(old))
    with pytest.raises(ConfigurationError, match="has version 1; this release reads version 2") as caught:
        Enrolment.read(tmp_path / "old.json")
    assert "label enrol" in (caught.value.hint or "")
    code, _, err = run("enrol", "isles", "--out", tmp_path / "old.json")
    assert code == 2
    assert "already exists" in err


def test_a_new_key_of_a_confirmed_label_is_not_confirmed(label_home, agreement, confirmed):
    stolen = Member("label-0", Identity.generate().public_key)
    later = Agreement("test", agreement.coordinator_key, (agreement.members[0], stolen, *agreement.members[2:]))
    assert set(confirmed_by(label_home, agreement)) == {"label-0", "label-1", "label-2"}
    assert set(confirmed_by(label_home, later)) == {"label-1", "label-2"}


def test_a_withdrawal_is_for_good_whoever_hands_the_confirmation_in_again(
    run, as_json, label_home, invite, identities, agreement, confirmed, words, tmp_path
):
    """Two others vouch for `label-2` as well; the coordinator hands all confirmations out with each agreement."""
    given = [
        *read_confirmations(label_home.confirmations_file),
        *(
            Confirmation.sign(identities[by], federation="test", by=by, member=agreement.members[3])
            for by in ("label-0", "label-1")
        ),
    ]
    file = invite(confirmations=given)
    pin(label_home, file, Policy())
    code, out, err = run("confirm", "label-2", "--withdraw", "--yes")
    assert code == 0
    assert "2 of the other labels are confirmed; 2 must be" in out
    assert "tell the others" in err
    pin(label_home, file, Policy())
    assert set(confirmed_by(label_home, agreement, given)) == {"label-0", "label-1"}
    members = {each["name"]: each for each in as_json("check", file)[1]["members"]}
    assert members["label-2"]["confirmed_by"] == []
    assert "label-2: WITHDRAWN by you" in run("check", file)[1]
    code, _, err = run("confirm", "label-2", "--words", words["label-2"])
    assert code == 2
    assert "permanent" in err
    code, _, err = run("confirm", "label-2", "--withdraw", "--yes")
    assert code == 2
    assert "no confirmation of 'label-2' to withdraw" in err
    run("confirmations", "--out", tmp_path / "ours.json")
    assert [each.name for each in read_confirmations(tmp_path / "ours.json") if isinstance(each, Withdrawal)] == [
        "label-2"
    ]


def test_too_few_after_a_withdrawal_end_taking_part(run, label_home, invite, confirmed):
    label_home.policy_file.write_text("least_confirmed = 3\n")
    pin(label_home, invite(), Policy.from_toml(label_home.policy_file))
    code, _, err = run("confirm", "label-1", "--withdraw", input="n\n")
    assert code == 1
    code, _, err = run("confirm", "label-1", "--withdraw", input="y\n")
    assert code == 0
    assert "takes part in no run of all members" in err
    code, _, err = run("join")
    assert code == 2
    assert "2 of the other labels are confirmed, but 3 must be" in err


def test_another_labels_withdrawal_takes_its_word_back(run, label_home, invite, identities, agreement, tmp_path):
    confirm(label_home, label_home.identity(), "test", agreement.members[1:3])
    third = agreement.members[3]
    given = [Confirmation.sign(identities[by], federation="test", by=by, member=third) for by in ("label-0", "label-1")]
    assert set(confirmed_by(label_home, agreement, given)) == {"label-0", "label-1", "label-2"}
    write_confirmations(
        tmp_path / "theirs.json",
        [Withdrawal.sign(identities["label-0"], federation="test", by="label-0", member=third)],
    )
    assert run("confirmations", tmp_path / "theirs.json")[0] == 0
    assert set(confirmed_by(label_home, agreement, given)) == {"label-0", "label-1"}
    pin(label_home, invite(confirmations=given), Policy())
    assert set(confirmed_by(label_home, agreement)) == {"label-0", "label-1"}


def test_a_file_of_the_first_version_is_still_read(label_home, agreement, confirmed):
    values = json.loads(label_home.confirmations_file.read_text())
    old = {name: value for name, value in values.items() if name != "withdrawals"} | {"version": 1}
    label_home.confirmations_file.write_text(json.dumps(old))
    assert set(confirmed_by(label_home, agreement)) == {"label-0", "label-1", "label-2"}
    label_home.confirmations_file.write_text(json.dumps(values | {"version": 3}))
    with pytest.raises(ConfigurationError, match="has version 3; this release reads versions 1 to 2"):
        confirmed_by(label_home, agreement)
