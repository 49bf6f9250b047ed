"""A label co-signs what agrees with its own books, and nothing else."""

import json
from dataclasses import replace

import pytest

from sottovoce.features.extract import default_spec
from sottovoce.privacy.calibration import plan_for
from sottovoce.protocol.violations import Malformed
from sottovoce.release.cosigning import Cosignature, CosignRequest, NotCosigning, NotFollowed, OtherAccount
from sottovoce.release.manifest import CONTENT_FILES, MODEL_FILE, FileEntry, Manifest, Noise, Privacy, Promise
from sottovoce.release.signatures import Role, Signature
from sottovoce.run.configuration import Trust, Unit
from sottovoce_client.budget.ledger import Ceilings, Ledger
from sottovoce_client.home.diary import What
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.cosign_check import check_account
from sottovoce_client.rounds.label import Label

RUN = bytes(range(16))
WEIGHTS = "ab" * 32


@pytest.fixture
def books(label_home, config, agreement):
    """A label that has taken part in rounds 1, 2 and 4 of a run."""
    agreement.write(label_home.agreement_file)
    plan = plan_for(config, 100)
    with Ledger(label_home.ledger_file) as ledger:
        ledger.open_run(RUN, plan, Policy().ceilings)
        for number in (1, 2, 4):
            ledger.charge(RUN, number, plan.events(1))
        ledger.close_run(RUN)
    label_home.diary.joined(RUN, config, federation="test", epsilon=4.0, delta=1e-5)
    label_home.diary.followed(RUN, weights=WEIGHTS)
    return Label(label_home)


@pytest.fixture
def manifest(config, agreement):
    spec = default_spec()
    promises = (Promise(3, 4.0, 1e-5), Promise(1, 2.0, 1e-5))
    files = {name: FileEntry(1, WEIGHTS if name == MODEL_FILE else spec.normalisation) for name in CONTENT_FILES}
    return Manifest(
        name="styles",
        task="style",
        family="svm",
        classes=config.classes,
        features=spec,
        parameters=2,
        shapes={"weight": (2,)},
        start="none",
        rounds=4,
        labels=4,
        privacy=Privacy(Unit.TRACK, "add-or-remove-one-unit", Trust.LOCAL, 1, "PLD", Noise.SYSTEM, promises),
        agreement=agreement.digest.hex(),
        run=RUN.hex(),
        configuration=config.digest.hex(),
        created="2026-01-31T12:00:00Z",
        software={"sottovoce": "0.1"},
        files=files,
    )


def asked(label, manifest, rounds=(1, 2, 4), run=RUN):
    raw = manifest if isinstance(manifest, bytes) else manifest.to_bytes()
    return Cosignature.from_bytes(label.cosign(CosignRequest(run, raw, rounds).to_bytes()))


@pytest.mark.parametrize("rounds", [(1, 2, 4), (2,), ()])
def test_what_agrees_is_signed(books, manifest, agreement, rounds):
    answer = asked(books, manifest, rounds)
    signature = Signature(Role.LABEL, answer.label, agreement.key_of("blue-note"), answer.signature)
    assert signature.holds(manifest.to_bytes())
    assert not signature.holds(manifest.to_bytes() + b" ")


@pytest.mark.parametrize(
    "change",
    [
        {"agreement": "00" * 32},
        {"configuration": "00" * 32},
        {"task": "generator"},
        {"family": "cnn"},
        {"classes": ("chorale", "reel", "polka")},
        {"classes": ("reel", "chorale", "rag")},
        {"classes": ("chorale", "reel")},
        {"run": "ff" * 16},
        {"rounds": 2},
        {"labels": 1, "promises": (Promise(1, 2.0, 1e-5),)},
        {"labels": 1, "promises": (Promise(1, 4.0, 1e-6),)},
        {"noise": Noise.SEEDED},
        {"noise": Noise.NONE, "promises": ()},
        {"unit": Unit.ARTIST},
        {"trust": Trust.DISTRIBUTED},
        {"trust": Trust.DISTRIBUTED, "min_honest": 3},
    ],
    ids=str,
)
def test_another_account_is_not(books, manifest, change):
    of_privacy = ("noise", "unit", "trust", "promises", "min_honest")
    inside = {name: value for name, value in change.items() if name in of_privacy}
    outside = {name: value for name, value in change.items() if name not in inside}
    told = replace(manifest, privacy=replace(manifest.privacy, **inside), **outside)
    with pytest.raises(OtherAccount):
        asked(books, told)


@pytest.mark.parametrize(("more", "signs"), [(0.0, True), (1e-9, False), (1.0, False)])
def test_a_label_that_has_spent_more_than_it_promised_does_not_sign(books, manifest, config, label_home, more, signs):
    """A manifest that repeats the label's guarantee is no lie, but not what happened to its tracks either."""
    with Ledger(label_home.ledger_file) as ledger:
        promised = ledger.epsilon_in(RUN, 1e-5) - more
    label_home.diary.file.unlink()
    label_home.diary.joined(RUN, config, federation="test", epsilon=promised, delta=1e-5)
    label_home.diary.followed(RUN, weights=WEIGHTS)
    told = replace(manifest, privacy=replace(manifest.privacy, promises=(Promise(4, promised, 1e-5),)))
    if signs:
        assert asked(books, told).label == label_home.name
    else:
        with pytest.raises(OtherAccount, match="spent more"):
            asked(books, told)


@pytest.mark.parametrize("name", ["task", "family", "classes"])
def test_what_differs_is_named(books, manifest, label_home, agreement, name):
    told = replace(manifest, **{name: ("other", "styles") if name == "classes" else "generator"})
    with pytest.raises(OtherAccount, match=f"The release's {name} differs"):
        check_account(told, label_home, agreement)


def test_a_label_that_joined_before_styles_were_noted_still_signs(books, manifest, label_home):
    lines = [json.loads(line) for line in label_home.diary.file.read_text().splitlines()]
    without = [{name: value for name, value in line.items() if name != "classes"} for line in lines]
    assert without != lines
    label_home.diary.file.write_text("".join(json.dumps(line) + "\n" for line in without))
    assert asked(books, manifest).label == label_home.name
    with pytest.raises(OtherAccount):
        asked(books, replace(manifest, family="cnn"))


def test_other_weights_than_the_runs_sums_led_to_are_not_signed(books, manifest):
    files = {**manifest.files, MODEL_FILE: FileEntry(1, "cd" * 32)}
    with pytest.raises(OtherAccount, match="weights differ"):
        asked(books, replace(manifest, files=files))


def test_a_label_that_did_not_follow_the_run_to_its_end_says_so(books, manifest, label_home):
    lines = label_home.diary.file.read_text().splitlines(keepends=True)
    label_home.diary.file.write_text("".join(line for line in lines if '"followed"' not in line))
    with pytest.raises(NotFollowed):
        asked(books, manifest)


@pytest.mark.parametrize("rounds", [(1, 2, 3), (3,), (1, 2, 4, 5)])
def test_a_round_that_the_label_was_not_in_is_not_signed(books, manifest, rounds):
    with pytest.raises(OtherAccount, match="round"):
        asked(books, manifest, rounds)


def test_a_run_that_the_label_never_joined_is_not_signed(books, manifest):
    with pytest.raises(OtherAccount):
        asked(books, replace(manifest, run="ff" * 16), run=bytes([255]) * 16)
    with pytest.raises(OtherAccount):
        asked(books, b"{}")


def test_a_manifest_of_another_run_than_was_asked_about_is_not_signed(books, manifest):
    with pytest.raises(OtherAccount, match="another run"):
        asked(books, manifest, run=bytes([255]) * 16)


def test_rounds_of_another_run_do_not_count(books, manifest, config, label_home):
    other = bytes([255]) * 16
    with Ledger(label_home.ledger_file) as ledger:
        plan = plan_for(config, 100)
        ledger.open_run(other, plan, Ceilings(4.0, 100.0, 1e-5))
        ledger.charge(other, 3, plan.events(1))
    with pytest.raises(OtherAccount, match="round"):
        asked(books, manifest, (1, 2, 3))


def test_the_labels_people_find_what_was_signed_in_the_diary(books, manifest, label_home):
    asked(books, manifest)
    assert [note.run for note in label_home.diary.notes() if note.what is What.COSIGNED] == [RUN.hex()]


def test_a_policy_may_forbid_it(books, manifest, label_home):
    text = label_home.policy_file.read_text().replace("cosign = true", "cosign = false")
    label_home.policy_file.write_text(text)
    with pytest.raises(NotCosigning):
        asked(Label(label_home), manifest)


@pytest.mark.parametrize(
    "change",
    [
        {"run": "xx"},
        {"rounds": [2, 1]},
        {"rounds": [0]},
        {"rounds": "1"},
        {"rounds": [True]},
        {"manifest": 3},
        {"x": 1},
    ],
    ids=str,
)
def test_what_is_no_request_is_refused(books, manifest, change):
    values = json.loads(CosignRequest(RUN, manifest.to_bytes(), (1,)).to_bytes())
    change = change or {"more": 1}
    with pytest.raises(Malformed):
        books.cosign(json.dumps({**values, **change}).encode())
    for frame in (b"", b"[", b"\xff", b"[" * 100_000):
        with pytest.raises(Malformed):
            books.cosign(frame)
