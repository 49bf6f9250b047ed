"""A release is whole or absent, and says what is so."""

import json
import os
import stat
from datetime import UTC, datetime

import numpy as np
import pytest
from safetensors.numpy import load_file

from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.federation.identity import Identity
from sottovoce.models.parameters import flatten, join
from sottovoce.release.check import check
from sottovoce.release.load import load
from sottovoce.release.manifest import Noise, Promise
from sottovoce.release.manifest_reading import read_manifest
from sottovoce.release.write import cosign, write
from sottovoce.run.configuration import Trust


def test_what_was_written_is_loaded(publish, provenance_of, parameters_of, coordinator):
    directory = publish(seed=4)
    release = load(directory, coordinator.public_key)
    np.testing.assert_array_equal(flatten(release.model), parameters_of(provenance_of(), 4))
    assert release.vouched
    assert not release.model.training


def test_the_manifest_says_how_it_came_about(publish, provenance_of, agreement, coordinator):
    manifest = check(publish(), coordinator.public_key).manifest
    config = provenance_of().config
    assert (manifest.task, manifest.family, manifest.classes) == ("style", "svm", config.classes)
    assert manifest.features == provenance_of().spec
    assert (manifest.agreement, manifest.configuration) == (agreement.digest.hex(), config.digest.hex())
    assert manifest.run == bytes(range(16)).hex()
    assert (manifest.labels, manifest.rounds) == (3, 3)
    age = datetime.now(UTC) - datetime.strptime(manifest.created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert 0 <= age.total_seconds() < 60
    assert "torch" in manifest.software


def test_labels_with_one_promise_are_counted_together(publish):
    privacy = check(publish()).manifest.privacy
    assert privacy.promises == (Promise(1, 2.0, 1e-6), Promise(2, 8.0, 1e-5))
    assert (privacy.unit, privacy.trust, privacy.noise) == ("track", "local", Noise.SYSTEM)
    assert (privacy.neighbours, privacy.accountant) == ("add-or-remove-one-unit", "PLD")


def test_what_a_label_says_of_itself_cannot_hold_a_release_up(publish):
    promises = ((0.0, 0.0), (8.0, 1e-5), (float("inf"), 0.0))
    privacy = check(publish(promises=promises)).manifest.privacy
    assert privacy.promises == (Promise(1, 0.0, 0.0), Promise(1, 8.0, 1e-5), Promise(1, None, 0.0))


def test_a_release_without_privacy_promises_nothing(publish):
    privacy = check(publish(private=False)).manifest.privacy
    assert privacy.noise is Noise.NONE
    assert privacy.promises == ()


def test_noise_from_a_seed_is_named(publish):
    assert check(publish(seeded=True)).manifest.privacy.noise is Noise.SEEDED


def test_the_manifest_survives_its_own_bytes(publish):
    manifest = check(publish()).manifest
    assert read_manifest(manifest.to_bytes()) == manifest


def test_tensors_are_named_and_readable_by_others(publish, provenance_of, parameters_of):
    directory = publish()
    np.testing.assert_array_equal(join(load_file(directory / "model.safetensors")), parameters_of(provenance_of()))
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_nothing_is_left_beside_it(publish, tmp_path):
    publish()
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_nothing_is_overwritten_unasked(publish):
    directory = publish()
    before = (directory / "manifest.json").read_bytes()
    with pytest.raises(ReleaseError, match="already"):
        publish(seed=1)
    assert (directory / "manifest.json").read_bytes() == before


def test_an_older_release_is_replaced_when_asked(publish, tmp_path):
    before = check(publish()).manifest.files
    after = check(publish(seed=1, replace=True)).manifest.files
    assert before != after
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


@pytest.mark.parametrize("kind", ["file", "other folder", "release with more in it", "link"])
def test_what_is_no_release_is_never_replaced(publish, tmp_path, kind):
    target = tmp_path / "release"
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        target.symlink_to(publish("elsewhere"))
    else:
        if kind == "release with more in it":
            publish()
        target.mkdir(exist_ok=True)
        (target / "thesis.txt").write_text("mine")
    with pytest.raises(ReleaseError, match="not replaced"):
        publish(replace=True)
    if target.is_dir() and not target.is_symlink():
        assert (target / "thesis.txt").read_text() == "mine"


def test_a_failure_on_the_way_leaves_nothing(publish, tmp_path, monkeypatch):
    def full(*_args, **_settings):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("sottovoce.release.write.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        publish()
    assert list(tmp_path.iterdir()) == []


def test_only_the_pinned_coordinator_signs(publish):
    with pytest.raises(ReleaseError, match="agreement pins"):
        publish(signer=Identity.generate())


def test_the_spec_must_be_that_of_the_run(publish):
    with pytest.raises(ReleaseError, match="feature spec"):
        publish(feature_spec="00" * 32)


def test_parameters_of_another_model_are_refused(tmp_path, provenance_of, coordinator):
    with pytest.raises(ConfigurationError, match="parameters"):
        write(tmp_path / "r", provenance_of(), np.zeros(7, np.float32), coordinator, name="r")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_diverged_is_not_published(tmp_path, provenance_of, parameters_of, coordinator):
    parameters = parameters_of(provenance_of())
    parameters[5] = np.nan
    with pytest.raises(ConfigurationError, match="not finite"):
        write(tmp_path / "r", provenance_of(), parameters, coordinator, name="r")
    assert list(tmp_path.iterdir()) == []


def test_labels_co_sign(publish, labels, coordinator):
    directory = publish()
    for name in ("south", "east", "south"):
        cosign(directory, labels[name], label=name, trusted_key=coordinator.public_key)
    signatures = check(directory, coordinator.public_key).signatures
    assert [(each.role.value, each.name) for each in signatures] == [
        ("coordinator", "isles"),
        ("label", "east"),
        ("label", "south"),
    ]
    assert signatures[2].public_key == labels["south"].public_key


def test_a_label_does_not_co_sign_for_a_stranger(publish, labels):
    directory = publish()
    before = (directory / "manifest.sig").read_bytes()
    with pytest.raises(ReleaseError, match="another key"):
        cosign(directory, labels["east"], label="east", trusted_key=Identity.generate().public_key)
    assert (directory / "manifest.sig").read_bytes() == before


def test_a_label_co_signs_the_bytes_it_checked_whatever_lies_there_afterwards(
    publish, labels, coordinator, monkeypatch
):
    directory = publish()
    manifest = directory / "manifest.json"
    checked = manifest.read_bytes()

    def check_and_swap(*args):
        result = check(*args)
        manifest.write_bytes(checked.replace(b"system", b"seeded"))
        return result

    monkeypatch.setattr("sottovoce.release.write.check", check_and_swap)
    cosign(directory, labels["east"], label="east", trusted_key=coordinator.public_key)
    manifest.write_bytes(checked)
    assert len(check(directory, coordinator.public_key).signatures) == 2


def test_no_private_key_is_in_a_release(publish, coordinator, tmp_path):
    coordinator.save(tmp_path / "key")
    secret = (tmp_path / "key").read_bytes()
    for path in publish().iterdir():
        data = path.read_bytes()
        assert secret not in data
        assert secret.hex().encode() not in data


def test_the_manifest_is_plain_json(publish):
    values = json.loads((publish() / "manifest.json").read_text())
    assert values["schema"] == 1
    assert list(values)[:2] == ["schema", "name"]


def test_a_release_from_before_distributed_noise_had_its_name_is_read(publish):
    raw = (publish() / "manifest.json").read_bytes()
    old = raw.replace(b'"trust": "local"', b'"trust": "shared"').replace(b'"honest": 1', b'"honest": 3')
    privacy = read_manifest(old).privacy
    assert (privacy.trust, privacy.min_honest) == (Trust.DISTRIBUTED, 3)
