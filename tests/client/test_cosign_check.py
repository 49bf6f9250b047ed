"""A label co-signs what agrees with its own books, and nothing else."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sottovoce.errors import ReleaseError
from sottovoce.features.extract import default_spec
from sottovoce.privacy.calibration import plan_for
from sottovoce.privacy.events import NonPrivate
from sottovoce.protocol.violations import Malformed
from sottovoce.release.cosigning import Cosignature, CosignRequest, NotAudited, NotCosigning, NotFollowed, OtherAccount
from sottovoce.release.manifest import CONTENT_FILES, MODEL_FILE, FileEntry, Manifest, Noise, Privacy, Promise
from sottovoce.release.signatures import Role, Signature
from sottovoce.run.configuration import Trust, Unit
from sottovoce_client.budget.ledger import Ceilings, Ledger
from sottovoce_client.home.diary import What
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.cosign_check import check_account, expect_auditable
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


@pytest.fixture
def noted(books, label_home) -> Callable[..., None]:
    """Changes what the label noted when it joined; None: it noted nothing of this name."""

    def change(**values: Any) -> None:
        first, *others = map(json.loads, label_home.diary.file.read_text().splitlines())
        first = {name: value for name, value in {**first, **values}.items() if value is not None or name not in values}
        label_home.diary.file.write_text("".join(json.dumps(line) + "\n" for line in (first, *others)))

    return change


def test_a_label_that_joined_before_styles_were_noted_still_signs(books, manifest, label_home, noted):
    noted(classes=None)
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


def test_a_label_that_joined_but_never_trained_does_not_sign(books, manifest, config, label_home):
    other = bytes([255]) * 16
    with Ledger(label_home.ledger_file) as ledger:
        ledger.open_run(other, plan_for(config, 100), Ceilings(4.0, 100.0, 1e-5))
    label_home.diary.joined(other, config, federation="test", epsilon=4.0, delta=1e-5)
    label_home.diary.followed(other, weights=WEIGHTS)
    with pytest.raises(OtherAccount, match="not trained"):
        asked(books, replace(manifest, run=other.hex()), (), run=other)


def test_a_label_that_trained_but_noted_no_promise_does_not_sign(books, manifest, label_home):
    label_home.diary.file.unlink()
    with pytest.raises(OtherAccount, match="not trained"):
        asked(books, manifest)


def test_a_run_of_as_many_rounds_as_the_label_was_in_is_signed(books, manifest, label_home):
    assert asked(books, replace(manifest, rounds=3)).label == label_home.name


def test_by_hand_no_rounds_are_compared(books, manifest, label_home, agreement):
    check_account(replace(manifest, rounds=1), label_home, agreement)
    with pytest.raises(OtherAccount, match="attributes"):
        check_account(replace(manifest, rounds=1), label_home, agreement, rounds=(1, 2))


def test_a_run_without_privacy_is_signed_as_such_and_not_otherwise(books, manifest, config, label_home):
    run, without = bytes([255]) * 16, config.changed(private=False)
    with Ledger(label_home.ledger_file) as ledger:
        ledger.open_run(run, None, Ceilings(4.0, 100.0, 1e-5, allow_non_private=True))
        ledger.charge(run, 1, (NonPrivate(),))
    label_home.diary.joined(run, without, federation="test", epsilon=4.0, delta=0.0)
    label_home.diary.followed(run, weights=WEIGHTS)
    of_run = replace(manifest, run=run.hex(), configuration=without.digest.hex())
    none = replace(manifest.privacy, noise=Noise.NONE, promises=())
    assert asked(books, replace(of_run, privacy=none), (1,), run).label == label_home.name
    with pytest.raises(OtherAccount, match="another kind of privacy"):
        asked(books, of_run, (1,), run)


@pytest.mark.parametrize(("named", "min_honest", "signs"), [("distributed", 1, True), ("distributed", 2, False)])
def test_the_number_of_honest_labels_is_the_agreed_one(books, manifest, label_home, noted, named, min_honest, signs):
    noted(trust=named)
    told = replace(manifest, privacy=replace(manifest.privacy, trust=Trust.DISTRIBUTED, min_honest=min_honest))
    if signs:
        assert asked(books, told).label == label_home.name
    else:
        with pytest.raises(OtherAccount, match="honest labels"):
            asked(books, told)


def test_a_kind_of_noise_may_have_been_noted_by_its_former_name(books, manifest, label_home, noted):
    noted(trust="shared")
    told = replace(manifest, privacy=replace(manifest.privacy, trust=Trust.DISTRIBUTED))
    assert asked(books, told).label == label_home.name


@pytest.mark.parametrize("name", ["unheard of", None])
def test_a_kind_of_noise_that_is_not_known_is_not_signed(books, manifest, noted, name):
    noted(trust=name)
    with pytest.raises(OtherAccount, match="another kind of privacy"):
        asked(books, manifest)


@pytest.mark.parametrize("damaged", [{"epsilon": 4}, {"delta": 0}], ids=str)
def test_a_promise_that_is_no_fraction_is_not_signed(books, manifest, noted, damaged):
    """It cannot be compared with the ledger; a label itself notes floating-point numbers."""
    noted(**damaged)
    promises = (Promise(4, 4.0, damaged.get("delta", 1e-5)),)
    with pytest.raises(OtherAccount, match="spent more"):
        asked(books, replace(manifest, privacy=replace(manifest.privacy, promises=promises)))


def test_a_second_release_of_a_run_is_not_signed(books, manifest):
    first = asked(books, manifest)
    assert asked(books, manifest) == first
    with pytest.raises(OtherAccount, match="one per run"):
        asked(books, replace(manifest, name="other"))


def test_what_generates_music_is_not_signed_from_afar(books, manifest, noted):
    noted(task="generator")
    with pytest.raises(NotAudited):
        asked(books, replace(manifest, task="generator"))


def test_one_release_a_run_is_audited_for_co_signing(books, manifest, label_home):
    first, second = "aa" * 32, "bb" * 32
    label_home.diary.audited(RUN, release=second, passed=False, cosign=False)  # by hand; it counts against itself only
    label_home.diary.audit_begun(bytes([255]) * 16, release=second)
    expect_auditable(manifest, first, label_home)
    label_home.diary.audit_begun(RUN, release=first)
    expect_auditable(manifest, first, label_home)
    with pytest.raises(ReleaseError, match="another release of this run"):
        expect_auditable(manifest, second, label_home)


def test_an_audit_for_co_signing_counts_even_where_its_beginning_was_not_noted(books, manifest, label_home):
    label_home.diary.audited(RUN, release="aa" * 32, passed=True, cosign=True)  # as earlier versions did
    expect_auditable(manifest, "aa" * 32, label_home)
    with pytest.raises(ReleaseError, match="another release of this run"):
        expect_auditable(manifest, "bb" * 32, label_home)


def test_a_release_that_failed_an_audit_is_not_audited_again(books, manifest, label_home):
    label_home.diary.audited(RUN, release="aa" * 32, passed=True, cosign=False)
    label_home.diary.audited(bytes([255]) * 16, release="aa" * 32, passed=False, cosign=False)
    expect_auditable(manifest, "aa" * 32, label_home)
    label_home.diary.audited(RUN, release="aa" * 32, passed=False, cosign=False)
    with pytest.raises(ReleaseError, match="failed the copy audit before"):
        expect_auditable(manifest, "aa" * 32, label_home)


def test_no_release_is_audited_whose_styles_the_label_did_not_note(books, manifest, label_home, noted):
    noted(classes=None)
    with pytest.raises(ReleaseError, match="did not note its styles"):
        expect_auditable(manifest, "aa" * 32, label_home)
    label_home.diary.file.unlink()
    with pytest.raises(ReleaseError, match="did not note its styles"):
        expect_auditable(manifest, "aa" * 32, label_home)


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
