"""Promise: a co-signature counts only if it is by a member of the agreement, with the key that the agreement pins.

The attack: a coordinator co-signs its own release under the names of its labels, or of labels that never existed, with
keys that it made. `release verify --key federation.toml` listed them all as co-signers.
"""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from sottovoce.cli import app
from sottovoce.errors import ReleaseError
from sottovoce.features.extract import default_spec
from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.release.check import check
from sottovoce.release.write import Provenance, cosign, write
from sottovoce.run.configure import configure_run
from sottovoce.run.request import RunRequest

STYLES = ("blues", "waltz")
LABELS = ("east", "north", "south", "west")


@pytest.fixture
def labels():
    return {name: Identity.generate() for name in LABELS}


@pytest.fixture
def coordinator():
    return Identity.generate()


@pytest.fixture
def agreement(coordinator, labels):
    members = tuple(Member(name, identity.public_key) for name, identity in labels.items())
    return Agreement("isles", coordinator.public_key, members)


@pytest.fixture
def release(tmp_path, coordinator, agreement):
    config = configure_run(RunRequest(family="svm", rounds=2), classes=STYLES, labels=len(LABELS))
    promises = [(config.epsilon, config.delta)] * len(LABELS)
    provenance = Provenance(config, default_spec(), agreement, bytes(16), 2, promises, start="none", seeded=False)
    size = initial(discovery.family("style", "svm"), default_spec(), len(STYLES), 0).size
    parameters = np.random.default_rng(0).normal(size=size).astype(np.float32)
    write(tmp_path / "release", provenance, parameters, coordinator, name="isles-style")
    agreement.write(tmp_path / "federation.toml")
    return tmp_path / "release"


@pytest.fixture
def verified(release):
    """Exit code and JSON of `release verify`, with the agreement for a key."""

    def run():
        key = str(release.parent / "federation.toml")
        done = CliRunner().invoke(app, ["release", "verify", str(release), "--key", key, "--json"])
        return done.exit_code, json.loads(done.stdout)

    return run


@pytest.mark.parametrize("name", ["north", "atlantis"])
def test_a_cosignature_with_a_key_that_is_no_members_is_an_error(release, agreement, coordinator, verified, name):
    cosign(release, Identity.generate(), label=name, trusted_key=coordinator.public_key)
    assert check(release, coordinator.public_key).cosigned is None  # with a bare key, nobody can tell
    with pytest.raises(ReleaseError, match=f"'{name}' is not a member of the federation with that key"):
        check(release, coordinator.public_key, agreement=agreement)
    code, found = verified()
    assert code == 2
    assert found["verified"] is False
    assert "is not a member" in found["error"]


def test_one_members_key_does_not_sign_in_anothers_name(release, agreement, coordinator, labels):
    cosign(release, labels["east"], label="north", trusted_key=coordinator.public_key)
    with pytest.raises(ReleaseError, match="'north' is not a member"):
        check(release, coordinator.public_key, agreement=agreement)


def test_verify_says_which_members_have_signed(release, coordinator, labels, verified):
    for name in ("south", "east", "west"):
        cosign(release, labels[name], label=name, trusted_key=coordinator.public_key)
    code, found = verified()
    assert code == 0
    assert found["cosigned"] == {"labels": ["south", "east", "west"], "members": 4, "same": True}
    assert any(line.startswith("3 of 4 members co-signed: south, east, west.") for line in found["checks"])


def test_verify_says_it_in_words_too(release, coordinator, labels):
    key = str(release.parent / "federation.toml")
    for name in ("south", "east", "west"):
        cosign(release, labels[name], label=name, trusted_key=coordinator.public_key)
    done = CliRunner().invoke(app, ["release", "verify", str(release), "--key", key])
    assert done.exit_code == 0
    words = " ".join(done.stdout.split())
    assert "3 of 4 members co-signed: south, east, west. It was made under this agreement." in words
    cosign(release, Identity.generate(), label="north", trusted_key=coordinator.public_key)
    done = CliRunner().invoke(app, ["release", "verify", str(release), "--key", key])
    assert done.exit_code == 2
    assert "'north' is not a member of the federation with that key" in done.stderr
    assert "co-signed" not in done.stdout


def test_verify_says_that_nobody_has_signed_and_that_the_agreement_is_another_one(release, agreement, verified):
    assert any(line.startswith("0 of 4 members co-signed.") for line in verified()[1]["checks"])
    Agreement(agreement.federation, agreement.coordinator_key, agreement.members, n_min=4).write(
        release.parent / "federation.toml"
    )
    code, found = verified()
    assert code == 0
    assert found["cosigned"]["same"] is False
    assert any("a different agreement" in line for line in found["checks"])
