"""`sottovoce label catalogue|check|status|ledger|close`, as the label's engineer meets them."""

import csv
import io
import math
import stat
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from sottovoce.federation.refusals import RefusalReason
from sottovoce.privacy.calibration import plan_for
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy

RUN, OTHER = bytes(range(16)), bytes(range(16, 32))


@pytest.fixture
def audio(tmp_path):
    """Two folders: one with three tracks of two styles, of which one track has no consent, and one empty folder."""

    def write(path, pitch):
        path.parent.mkdir(parents=True, exist_ok=True)
        times = np.arange(4 * 22_050) / 22_050
        soundfile.write(path, 0.3 * np.sin(2 * math.pi * pitch * times), 22_050)

    music, archive = tmp_path / "music", tmp_path / "archive"
    write(music / "blues" / "a.wav", 220)
    write(music / "blues" / "b.wav", 330)
    write(archive / "waltz" / "c.wav", 440)
    write(archive / "waltz" / "d.wav", 550)
    (archive / "catalogue.csv").write_text("path,style,consent\nwaltz/c.wav,waltz,style\nwaltz/d.wav,waltz,none\n")
    return music, archive


@pytest.fixture
def nothing_held_out(monkeypatch):
    """Of three tracks, all are held out once in 125 times."""
    monkeypatch.setattr("sottovoce_client.data.split.HELD_OUT_SHARE", 1e-9)


@pytest.fixture
def opened(label_home, config):
    """A run in the home's ledger, with two of its four rounds charged, and one that was refused."""
    plan = plan_for(config, 100)
    with Ledger(label_home.ledger_file) as ledger:
        ledger.open_run(RUN, plan, Policy().ceilings)
        for number in (1, 3):
            ledger.charge(RUN, number, plan.events(1))
    label_home.diary.joined(RUN, config, federation="test", epsilon=4.0, delta=1e-5)
    label_home.diary.round_declined(RUN, 2, RefusalReason.HOURS.value)
    label_home.diary.refused(OTHER, config.changed(family="cnn"), RefusalReason.BUDGET.value)
    (label_home.runs / f"{RUN.hex()}.json").write_text("secret")
    return plan


def test_catalogues_are_registered_scanned_and_their_features_computed(as_json, run, label_home, audio):
    music, archive = audio
    code, found = as_json("catalogue", music, archive)
    assert code == 0
    assert found["usable"] == {"style": 3}
    assert found["features"] == {"known": 0, "computed": 3, "unusable": 0}
    assert [len(catalogue["withheld"]) for catalogue in found["catalogues"]] == [0, 1]
    assert LabelHome.open(label_home.root).catalogues == (music, archive)
    code, again = as_json("catalogue")
    assert code == 0
    assert again["features"] == {"known": 3, "computed": 0, "unusable": 0}
    assert sum(catalogue["opened"] for catalogue in again["catalogues"]) == 0
    code, out, _ = run("catalogue")
    assert code == 0
    assert "music" in out
    assert "archive" in out


def test_a_folder_within_another_is_refused(run, label_home, audio):
    music, _ = audio
    code, _, err = run("catalogue", music, music / "blues")
    assert code == 2
    assert "is inside the catalogue" in err
    assert LabelHome.open(label_home.root).catalogues == ()


def test_a_folder_that_is_not_there(run, tmp_path):
    code, _, err = run("catalogue", tmp_path / "nowhere")
    assert code == 2
    assert "is not a folder" in err


def test_without_a_folder_there_is_nothing_to_scan(run):
    code, _, err = run("catalogue")
    assert code == 2
    assert "label catalogue DIR" in err


def test_the_policys_folders_bound_what_is_looked_at(as_json, run, label_home, audio):
    music, archive = audio
    text = label_home.policy_file.read_text().replace("folders = []", f'folders = ["{music}"]')
    label_home.policy_file.write_text(text)
    code, found = as_json("catalogue", music, archive)
    assert code == 0
    assert [catalogue["root"] for catalogue in found["catalogues"]] == [str(music)]


@pytest.mark.usefixtures("nothing_held_out")
def test_catalogue_suggests_what_to_declare_and_declares_it_on_request(as_json, label_home, audio):
    _, found = as_json("catalogue", *audio)
    assert Policy.from_toml(label_home.policy_file).declared_tracks == 0
    as_json("catalogue", "--declare")
    policy = Policy.from_toml(label_home.policy_file)
    declared = {name: getattr(policy, name) for name in ("declared_tracks", "declared_artists")}
    assert declared == found["suggested"]
    assert policy.declared_tracks == 3


@pytest.mark.usefixtures("nothing_held_out")
def test_catalogue_warns_if_many_more_tracks_are_trained_on_than_declared(run, label_home, audio):
    label_home.write_policy("declared_tracks = 2")
    assert "3 training tracks, but only 2 declared" in " ".join(run("catalogue", *audio)[2].split())
    label_home.write_policy("declared_tracks = 3")
    assert "training tracks, but only" not in run("catalogue")[2]


def test_catalogue_and_status_say_how_many_are_held_out(run, as_json, label_home, audio):
    _, before = as_json("status")
    assert before["tracks"] == {"train": 0, "held_out": 0}
    code, out, _ = run("catalogue", *audio)
    assert code == 0
    assert "Held out from 'style' models, for ever:" in out
    _, found = as_json("catalogue")
    _, status = as_json("status")
    assert status["tracks"] == {"train": 3 - found["held_out"]["style"], "held_out": found["held_out"]["style"]}
    assert "of 3 tracks that were ever looked at" in run("status")[1]
    for file in audio[0].rglob("*.wav"):
        file.unlink()
    assert "of 3 tracks that were ever looked at" in run("status")[1]


def test_a_home_of_an_earlier_version_is_informed_once_that_sides_are_recorded(run, as_json, label_home, audio):
    label_home.sides_file.unlink()
    replace(label_home, keeps_sides=False).describe()
    assert as_json("status")[1]["tracks"] is None
    assert "not written down yet" in run("status")[1]
    assert "written down from now on" in run("catalogue", *audio)[2]
    assert "written down from now on" not in run("catalogue")[2]
    assert sum(as_json("status")[1]["tracks"].values()) == 3


def test_without_its_table_a_label_says_what_is_missing(run, label_home):
    label_home.sides_file.unlink()
    code, _, err = run("status")
    assert code == 3
    assert "table of held-out tracks is missing" in err


@pytest.mark.usefixtures("nothing_held_out")
def test_check_says_what_would_be_allowed(run, as_json, audio, invite, confirmed):
    as_json("catalogue", *audio, "--declare")
    code, found = as_json("check", invite())
    assert code == 0
    assert found["can_take_part"] is True
    assert found["epsilon_of_one_run"] == 8.0
    assert found["tracks"] == {"style": {"blues": 2, "waltz": 1}}
    code, out, _ = run("check", invite())
    assert code == 0
    for sentence in ("train style models (cnn, rnn, svm)", "ε = 8 in one run", "training without privacy", "own noise"):
        assert sentence in out


def test_check_says_what_stands_against_it(as_json, run, label_home, audio, invite, agreement, opened):
    from dataclasses import replace

    from sottovoce.run.configuration import Trust

    as_json("catalogue", *audio)
    stranger = replace(agreement, members=agreement.members[1:], noise=Trust.DISTRIBUTED)
    text = label_home.policy_file.read_text().replace("least_participants = 3", "least_participants = 4")
    label_home.policy_file.write_text(text.replace("epsilon_lifetime = 16.0", "epsilon_lifetime = 4.0"))
    code, found = as_json("check", invite(stranger))
    assert code == 2
    obstacles = " ".join(found["obstacles"])
    for words in ("does not name 'blue-note'", "does not accept distributed noise", "requires 4 labels"):
        assert words in obstacles
    assert found["epsilon_of_one_run"] < 1
    code, _, err = run("check", invite(stranger))
    assert code == 2
    assert "Cannot take part" in err


def test_check_finds_another_key_under_the_labels_name(as_json, invite, agreement):
    from dataclasses import replace

    from sottovoce.federation.agreement import Member
    from sottovoce.federation.identity import Identity

    thief = Identity.generate()
    forged = replace(agreement, members=(Member("blue-note", thief.public_key), *agreement.members[1:]))
    code, found = as_json("check", invite(forged, also=[thief]))
    assert code == 2
    assert any("pins another key" in obstacle for obstacle in found["obstacles"])


def test_check_changes_nothing(as_json, label_home, audio, invite):
    as_json("catalogue", *audio)
    file = invite()
    before = {path: path.read_bytes() for path in label_home.root.glob("*") if path.is_file()}
    as_json("check", file)
    assert {path: path.read_bytes() for path in label_home.root.glob("*") if path.is_file()} == before


def test_a_federation_that_was_changed_is_refused(run, invite):
    file = invite()
    file.write_text(file.read_text().replace("n_min = 3", "n_min = 4"))
    code, _, err = run("check", file)
    assert code == 2
    assert "changed afterwards" in err
    code, _, err = run("join", file)
    assert code == 2
    assert "changed afterwards" in err


def test_join_refuses_what_the_label_cannot_take_part_in(run, label_home, invite, agreement):
    from dataclasses import replace

    code, _, err = run("join")
    assert code == 2
    assert "not joined a federation" in err
    code, _, err = run("join", invite(replace(agreement, members=agreement.members[1:])))
    assert code == 2
    assert "send enrolment.json to the coordinator" in err
    assert not label_home.agreement_file.exists()


def test_another_coordinator_is_refused_once_one_was_joined(label_home, invite, agreement, confirmed):
    from dataclasses import replace

    from sottovoce.errors import ConfigurationError
    from sottovoce.federation.identity import Identity
    from sottovoce_client.home.pinning import pin

    pin(label_home, invite(), Policy())
    assert label_home.agreement() == agreement
    other = Identity.generate()
    theirs = replace(agreement, coordinator_key=other.public_key)
    with pytest.raises(ConfigurationError, match="another coordinator"):
        pin(label_home, invite(theirs, signer=other, name="theirs.toml"), Policy())
    assert label_home.agreement() == agreement
    pin(label_home, invite(replace(agreement, n_min=4), name="newer.toml"), Policy())
    assert label_home.agreement().n_min == 4


def test_the_ledger_says_what_was_spent_and_what_remains(as_json, label_home, opened):
    code, found = as_json("ledger")
    assert code == 0
    joined, refused = sorted(found["runs"], key=lambda each: each["state"])
    assert joined["run"] == RUN.hex()
    assert (joined["state"], joined["planned"], joined["charged"]) == ("open", 4, [1, 3])
    assert joined["declined"] == [[2, "hours"]]
    assert (refused["state"], refused["reason"], refused["family"]) == ("refused", "budget", "cnn")
    lifetime = found["lifetime"]
    with Ledger(label_home.ledger_file) as ledger:
        assert lifetime["epsilon"] == joined["epsilon"] == ledger.epsilon(1e-5)
    assert 0 < lifetime["epsilon"] < lifetime["committed"] <= 4.0
    assert lifetime["remaining"] == pytest.approx(16 - lifetime["committed"])


def test_the_ledger_as_a_table_and_for_a_spreadsheet(run, opened):
    code, out, _ = run("ledger")
    assert code == 0
    for words in (RUN.hex()[:8], "style/svm", "2 of 4", "too little of its", "remains"):
        assert words in out
    code, out, _ = run("ledger", "--csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["run"], row["state"], row["charged"]) for row in rows] == [
        (RUN.hex(), "open", "2"),
        (OTHER.hex(), "refused", "0"),
    ]
    code, _, err = run("ledger", "--csv", "--json")
    assert code == 2
    assert "Use either" in err


def test_status_names_open_runs_and_refusals(run, as_json, opened):
    code, out, _ = run("status")
    assert code == 0
    for words in ("blue-note", "none yet", "2 of 4", "Declined lately", "declined"):
        assert words in out
    code, found = as_json("status")
    assert code == 0
    assert [each["run"] for each in found["open_runs"]] == [RUN.hex()]
    assert found["federation"] is None


def test_closing_a_run_frees_what_it_never_charged(run, as_json, label_home, opened):
    code, _, err = run("close", "ffff", "--yes")
    assert code == 2
    assert "no joined run" in err
    code, _, _ = run("close", RUN.hex()[:6], input="n\n")
    assert code == 1
    assert as_json("ledger")[1]["runs"][0]["state"] == "open"
    before = as_json("ledger")[1]["lifetime"]
    code, out, _ = run("close", RUN.hex()[:6], "--yes")
    assert code == 0
    assert "2 rounds stay charged" in out
    after = as_json("ledger")[1]["lifetime"]
    assert after["epsilon"] == after["committed"] == before["epsilon"] < before["committed"]
    assert not (label_home.runs / f"{RUN.hex()}.json").exists()
    code, _, err = run("close", RUN.hex()[:6], "--yes")
    assert code == 2
    assert "already closed" in err


def test_a_diary_outlives_a_torn_line_and_a_flood(label_home, config, monkeypatch):
    diary = label_home.diary
    diary.joined(RUN, config, federation="test", epsilon=4.0, delta=1e-5)
    assert stat.S_IMODE(diary.file.stat().st_mode) == 0o600
    with diary.file.open("ab") as file:
        file.write(b'{"run": "00", "wh')
    diary.refused(OTHER, config, "budget")
    assert [note.what for note in diary.notes()] == ["joined", "refused"]
    monkeypatch.setattr("sottovoce_client.home.diary.LARGEST", 3_000)
    monkeypatch.setattr("sottovoce_client.home.diary.KEPT_REFUSALS", 5)
    for _ in range(100):
        diary.refused(OTHER, config, "budget")
    assert diary.file.stat().st_size < 6_000
    assert [note.run for note in diary.notes() if note.what == "joined"] == [RUN.hex()]
