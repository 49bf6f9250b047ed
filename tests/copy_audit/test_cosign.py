"""What makes music is co-signed after an audit, by hand, and tells no more than that it was."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from sottovoce.audio.decoding import read
from sottovoce.errors import CatalogueError
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.privacy.calibration import plan_for
from sottovoce.release.check import check
from sottovoce.release.cosigning import CosignRequest, NotAudited
from sottovoce.release.load import load
from sottovoce.release.manifest import MANIFEST_FILE
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.flower.client_app import client_app
from sottovoce_client.home.diary import What
from sottovoce_client.rounds.label import Label
from sottovoce_client.rounds.local_round import weights_digest

RATE = 22_050
LENGTH = 10 * RATE


@pytest.fixture(scope="session")
def catalogue(few_tracks):
    """What is tested here happens around audits."""
    return few_tracks


@pytest.fixture
def agreement(home, coordinator):
    others = (Member(f"label-{number}", Identity.generate().public_key) for number in range(3))
    return Agreement("test", coordinator.public_key, (Member(home.name, home.identity().public_key), *others))


@pytest.fixture
def books(home, agreement, config, policy):
    """The label has taken part in the run of a generator."""
    agreement.write(home.agreement_file)

    def joined(run):
        plan = plan_for(config, 100)
        with Ledger(home.ledger_file) as ledger:
            ledger.open_run(run, plan, replace(policy, epsilon_lifetime=100.0).ceilings)
            for number in (1, 2):
                ledger.charge(run, number, plan.events(1))
            ledger.close_run(run)
        home.diary.joined(run, config, federation="test", epsilon=8.0, delta=1e-5)
        home.diary.followed(run, weights=weights_digest(_vector(config), config))

    joined(bytes(range(16)))
    return joined


@pytest.fixture
def copy(split):
    return read(split.train[3].path, RATE).numpy()[:LENGTH]


def signers(release):
    return [each.name for each in check(release).signatures[1:]]


def notes(home):
    return [note.details for note in home.diary.notes() if note.what is What.AUDITED]


def test_what_passes_is_signed(run, home, books, publish, agreement, makes, strangers):
    release = publish(agreement)
    makes(strangers)
    code, out, err = run("label", "cosign", release, "--home", home.root)
    assert code == 0, err
    assert "its samples contain no copies of this label's music" in out
    assert signers(release) == [home.name]
    assert [(note["passed"], note["cosign"]) for note in notes(home)] == [(True, True)]


def test_what_fails_is_not_signed_and_nothing_private_is_said(
    run, home, books, publish, agreement, makes, strangers, copy, split
):
    release = publish(agreement)
    makes([*strangers[:3], copy])
    code, out, err = run("label", "cosign", release, "--home", home.root)
    assert code == 3
    assert "is not signed: its samples are too close to this label's music" in err
    assert not signers(release)
    said = out + err
    assert not any(track.path.name in said or track.digest in said for track in split.train)
    # Chance gives no second try, even though this time nothing of it would be found.
    makes(strangers)
    code, _, err = run("label", "cosign", release, "--home", home.root)
    assert code == 2
    assert "failed the copy audit before" in err
    assert not signers(release)


def test_a_failed_audit_by_hand_counts_too(run, home, books, publish, agreement, makes, strangers, copy):
    release = publish(agreement)
    makes([copy])
    assert run("label", "audit", release, "--home", home.root)[0] == 3
    makes(strangers)
    assert run("label", "cosign", release, "--home", home.root)[0] == 2
    assert not signers(release)


def test_one_release_a_run_is_audited_to_be_signed(run, home, books, publish, agreement, makes, strangers, config):
    first = publish(agreement)
    second = publish(agreement, name="second", title="another")
    makes(strangers)
    assert run("label", "audit", second, "--home", home.root)[0] == 0  # looking costs nothing
    assert run("label", "cosign", first, "--home", home.root)[0] == 0
    code, _, err = run("label", "cosign", second, "--home", home.root)
    assert code == 2
    assert "signs one per run" in err
    assert not signers(second)


def test_an_audit_that_ends_in_no_verdict_was_one_all_the_same(
    run, home, books, publish, agreement, makes, strangers, config, monkeypatch
):
    """Whatever comes of it, even an error, may have been made to say something: another release gets no second one."""
    from sottovoce_client.commands.label import cosign

    first = publish(agreement)
    second = publish(agreement, name="second", title="another")

    def broken(*arguments, **named):
        raise CatalogueError("None of the training tracks can be read any more.")

    with monkeypatch.context() as patch:
        patch.setattr(cosign, "audited", broken)
        assert run("label", "cosign", first, "--home", home.root)[0] != 0
    assert not notes(home)
    makes(strangers)
    code, _, err = run("label", "cosign", second, "--home", home.root)
    assert code == 2
    assert "for one release per run" in err
    assert not notes(home)
    assert run("label", "audit", second, "--home", home.root)[0] == 0  # by hand, as often as its people like
    assert run("label", "cosign", first, "--home", home.root)[0] == 0
    assert (signers(first), signers(second)) == ([home.name], [])


def renamed(config, name):
    values = {"family": "vae", "classes": ("blues", "chorale", "polka"), "fewer": ("blues", "chorale")}
    return config.changed(**{"classes" if name == "fewer" else name: values[name]})


@pytest.mark.parametrize("name", ["family", "classes", "fewer"])
def test_a_release_under_other_names_is_not_even_audited(
    run, home, books, publish, agreement, makes, strangers, config, monkeypatch, name
):
    """Otherwise a publisher could exclude tracks of some styles from the audit, or all of them."""
    told = renamed(config, name)
    vector = _vector(told)
    honest = config.digest.hex()
    monkeypatch.setattr(type(told), "digest", property(lambda _: bytes.fromhex(honest)))
    release = publish(agreement, config=told, vector=vector)
    makes(strangers)
    code, _, err = run("label", "cosign", release, "--home", home.root)
    assert code == 2
    assert f"The release's {'classes' if name == 'fewer' else name} differs from the run that this label joined" in err
    assert not signers(release)
    assert [note for note in home.diary.notes() if note.what in (What.AUDITED, What.AUDIT_BEGUN)] == []


def test_an_audit_compares_with_what_was_trained_on_whatever_a_release_calls_its_styles(
    run, home, books, publish, agreement, makes, copy, config, split
):
    told = config.changed(classes=("no", "such", "style"))
    release = publish(agreement, config=told, vector=_vector(told))
    makes([copy])
    code, out, err = run("label", "audit", release, "--home", home.root, "--json")
    assert (code, json.loads(out)["tracks"]) == (3, len(split.train)), err


def test_a_label_that_has_not_noted_the_styles_of_a_run_does_not_audit_to_sign(
    run, home, books, publish, agreement, makes, strangers
):
    file = home.diary.file
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "classes"}) + "\n" for line in lines))
    release = publish(agreement)
    makes(strangers)
    code, _, err = run("label", "cosign", release, "--home", home.root)
    assert code == 2
    assert "did not note its styles" in err
    assert run("label", "audit", release, "--home", home.root)[0] == 0


def _vector(config):
    from sottovoce.models import discovery
    from sottovoce.models.parameters import initial

    family = discovery.family(config.task, config.family)
    return initial(family, discovery.spec_of(config.task, config.family), len(config.classes), 1)


def test_a_release_that_is_exchanged_meanwhile_is_not_signed(
    run, home, books, publish, agreement, makes, strangers, monkeypatch, config
):
    from sottovoce_client.commands.label import cosign

    release = publish(agreement)
    other = publish(agreement, name="second", vector=np.float32(0.5) * _vector(config))
    whole = cosign.audited

    def audited(*arguments, **named):
        found = whole(*arguments, **named)
        for path in other.iterdir():
            (release / path.name).write_bytes(path.read_bytes())
        return found

    monkeypatch.setattr(cosign, "audited", audited)
    makes(strangers)
    code, _, err = run("label", "cosign", release, "--home", home.root)
    assert code == 2
    assert "replaced by another one" in err
    assert not signers(release)


def test_nobody_can_have_an_audit_made_from_afar(home, books, publish, agreement, makes, copy):
    """Whether or not the model copies, the coordinator receives the same answer, and no audit runs."""
    release = publish(agreement)
    request = CosignRequest(bytes(range(16)), (release / MANIFEST_FILE).read_bytes(), (1, 2)).to_bytes()
    makes([copy])
    with pytest.raises(NotAudited):
        Label(home).cosign(request)
    assert not notes(home)
    assert client_app(lambda _: Label(home)) is not None


def test_the_books_come_first(run, home, agreement, publish, makes, strangers):
    agreement.write(home.agreement_file)
    makes(strangers)
    code, _, err = run("label", "cosign", publish(agreement), "--home", home.root)
    assert code == 2
    assert "has not trained in the release's run" in err
    assert not notes(home)


def test_the_command_tells_people_counts_and_on_demand_tracks(
    run, home, publish, makes, strangers, copy, split, monkeypatch
):
    """One audit, told in each way."""
    from sottovoce_client.commands.label import audit

    release, audited = publish(), audit.audited
    findings = cache(lambda: audited(home, load(release)))
    monkeypatch.setattr(audit, "audited", lambda *_, **__: findings())
    makes([*strangers[:5], copy])
    code, out, err = run("label", "audit", release, "--home", home.root, "--json")
    told = json.loads(out)
    assert code == 3
    assert (told["passed"], told["samples"], told["copied"], told["tracks"]) == (False, 6, 1, len(split.train))
    assert "matches" not in told
    assert split.train[3].path.name not in out + err
    code, out, _ = run("label", "audit", release, "--home", home.root, "--json", "--matches")
    (match,) = json.loads(out)["matches"]
    assert code == 3
    assert match["track"] == str(split.train[3].path)
    code, out, err = run("label", "audit", release, "--home", home.root)
    assert code == 3
    assert "1 sample too close" in out
    assert split.train[3].path.name not in out + err
    code, out, _ = run("label", "audit", release, "--home", home.root, "--matches")
    assert split.train[3].path.name in out


def test_wrong_input_is_explained(run, home, publish, tmp_path):
    code, _, err = run("label", "audit", tmp_path, "--home", home.root)
    assert (code, "is not a release" in err) == (2, True)
    code, _, err = run("label", "audit", publish(), "--home", tmp_path / "nowhere")
    assert (code, "no label's home" in err) == (2, True)
    assert run("label", "audit", publish(name="again"), "--home", home.root, "--skip-audit")[0] == 2
    assert run("label", "cosign", publish(name="more"), "--home", home.root, "--skip-audit")[0] == 2


@pytest.mark.parametrize("line", ["audit_samples = 1", "audit_false_alarms = 0.5", "audit_false_alarms = 0"])
def test_a_policy_cannot_set_the_audit_aside(run, home, publish, line):
    name = line.split()[0]
    text = home.policy_file.read_text(encoding="utf-8").splitlines()
    home.policy_file.write_text("\n".join(line if each.startswith(f"{name} =") else each for each in text))
    code, _, err = run("label", "audit", publish(), "--home", home.root)
    assert (code, name in err) == (2, True)
