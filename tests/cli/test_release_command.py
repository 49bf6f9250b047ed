import json
import shutil

import pytest

from sottovoce.federation.identity import Identity
from sottovoce.release.write import cosign, write


@pytest.fixture
def copy(release, tmp_path):
    return shutil.copytree(release, tmp_path / "copy")


def test_verify_says_what_was_checked(sottovoce, release, coordinator):
    result = sottovoce("release", "verify", release, "--key", coordinator.public_key.hex())
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert sum(line.startswith("✓ ") for line in lines) == 6
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert lines[-1] == "Verified, and signed with the key that you trust."
    assert result.stderr == ""


def test_without_a_key_nobody_vouched(sottovoce, release, coordinator):
    result = sottovoce("release", "verify", release)
    assert result.exit_code == 0
    assert f"{coordinator.public_key.hex()}, a key that you have not confirmed." in " ".join(result.stdout.split())
    assert result.stdout.splitlines()[-1] == "Verified, but you did not say which key you trust."
    assert "--key" in result.stderr


def test_a_damaged_release_fails(sottovoce, copy):
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    result = sottovoce("release", "verify", copy)
    assert result.exit_code == 2
    assert "model.safetensors is not the file that was signed" in result.stderr
    assert "Verified" not in result.stdout
    found = sottovoce("release", "verify", copy, "--json")
    assert found.exit_code == 2
    values = json.loads(found.stdout)
    assert (values["verified"], len(values["checks"])) == (False, 3)
    assert "not the file that was signed" in values["error"]


def test_verify_in_json(sottovoce, release, coordinator):
    values = json.loads(sottovoce("release", "verify", release, "--json").stdout)
    assert (values["verified"], values["vouched"], len(values["checks"])) == (True, False, 6)
    pinned = sottovoce("release", "verify", release, "--json", "--key", coordinator.public_key.hex())
    assert json.loads(pinned.stdout)["vouched"] is True


def test_a_key_comes_as_digits_as_a_file_or_as_the_agreement(sottovoce, release, coordinator, agreement, tmp_path):
    (tmp_path / "key").write_text(coordinator.public_key.hex().upper() + "\n")
    agreement.write(tmp_path / "federation.toml")
    for key in (coordinator.public_key.hex(), tmp_path / "key", tmp_path / "federation.toml"):
        assert "the key that you trust" in sottovoce("release", "verify", release, "--key", key).stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is neither a key nor a file with one"),
        (b"", "does not contain a key"),
        (bytes(32), "does not contain a key"),  # raw bytes: how a private key is stored
        (b"ab" * 31, "does not contain a key"),
    ],
)
def test_what_is_no_key(sottovoce, release, tmp_path, content, message):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    result = sottovoce("release", "verify", release, "--key", tmp_path / "key")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "64 hexadecimal digits" in result.stderr


def test_a_key_in_a_damaged_agreement(sottovoce, release, tmp_path):
    (tmp_path / "federation.toml").write_text("coordinator_key = 3")
    result = sottovoce("release", "verify", release, "--key", tmp_path / "federation.toml")
    assert result.exit_code == 2
    assert "federation.toml" in result.stderr


def test_another_key_is_refused(sottovoce, release):
    result = sottovoce("release", "verify", release, "--key", Identity.generate().public_key.hex())
    assert result.exit_code == 2
    assert "another key than the one you trust" in result.stderr
    assert "Do not use it" in result.stderr


def test_the_card(sottovoce, release, coordinator):
    result = sottovoce("release", "show", release)
    assert result.exit_code == 0
    for text in (
        "isles-style",
        "style, family svm",
        "fugue, reel, tango",
        "3 labels in 3 rounds",
        "3 labels: ε ≤ 8 at δ = 1e-05, for each track",
        "neighbours: add-or-remove-one-unit; accountant: PLD",
        coordinator.public_key.hex(),
        "not confirmed (see --key)",
    ):
        assert text in result.stdout, text
    assert all(len(line.rstrip()) <= 80 for line in result.stdout.splitlines())


def test_the_card_in_json(sottovoce, release, coordinator):
    values = json.loads(sottovoce("release", "show", release, "--json").stdout)
    assert values["classes"] == ["fugue", "reel", "tango"]
    assert values["privacy"]["promises"] == [{"labels": 3, "epsilon": 8.0, "delta": 1e-5}]
    assert values["signatures"] == [
        {"role": "coordinator", "name": "isles", "public_key": coordinator.public_key.hex()}
    ]
    assert values["vouched"] is False


def test_who_co_signed_is_shown(sottovoce, copy, coordinator):
    label = Identity.generate()
    cosign(copy, label, label="north", trusted_key=coordinator.public_key)
    card = sottovoce("release", "show", copy).stdout
    assert "label north" in card
    assert label.public_key.hex() in card
    words = " ".join(sottovoce("release", "verify", copy).stdout.split())
    assert "It is co-signed, with keys stated by the signers, by north." in words


@pytest.mark.parametrize(
    ("private", "seeded", "text"),
    [
        (False, False, "trained without differential privacy"),
        (True, True, "Anyone who knows the seed can subtract it"),
    ],
)
def test_weak_privacy_is_said(sottovoce, tmp_path, provenance, coordinator, private, seeded, text):
    from dataclasses import replace

    import numpy as np

    changed = replace(provenance, config=provenance.config.changed(private=private), seeded=seeded)
    from sottovoce.models import discovery
    from sottovoce.models.parameters import initial

    parameters = initial(discovery.family("style", "svm"), provenance.spec, 3, 0)
    write(tmp_path / "r", changed, parameters.astype(np.float32), coordinator, name="weak")
    assert text in " ".join(sottovoce("release", "show", tmp_path / "r").stdout.split())


@pytest.mark.parametrize("command", ["show", "verify"])
def test_what_is_no_release(sottovoce, tmp_path, command):
    result = sottovoce("release", command, tmp_path / "nowhere")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {tmp_path / 'nowhere'}: There is no such folder.")
