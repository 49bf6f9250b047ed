import json

import numpy as np
import pytest

from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.release.signatures import Role, Signature, encode
from sottovoce.release.write import Provenance, write

LABELS = ("east", "north", "south")


@pytest.fixture(scope="session")
def coordinator():
    return Identity.generate()


@pytest.fixture(scope="session")
def labels():
    return {name: Identity.generate() for name in LABELS}


@pytest.fixture(scope="session")
def agreement(coordinator, labels):
    members = tuple(Member(name, identity.public_key) for name, identity in sorted(labels.items()))
    return Agreement("isles", coordinator.public_key, members)


@pytest.fixture(scope="session")
def provenance_of(agreement, run_configuration):
    """How a run came about; keywords change its training configuration."""

    def make(*, promises=((8.0, 1e-5), (2.0, 1e-6), (8.0, 1e-5)), start="none", seeded=False, **changes):
        spec = discovery.spec_of(changes.get("task", "style"), changes.get("family", "svm"))
        styles = {"classes": ("fugue", "reel", "tango"), "feature_spec": spec.digest}
        config = run_configuration(**(styles | changes))
        return Provenance(config, spec, agreement, bytes(range(16)), 3, promises, start, seeded)

    return make


@pytest.fixture(scope="session")
def parameters_of():
    """A model's first parameters, with a little noise so that no two seeds give one model."""

    def make(provenance, seed=0):
        family = discovery.family(provenance.config.task, provenance.config.family)
        first = initial(family, provenance.spec, len(provenance.config.classes), seed)
        return first + np.random.default_rng(seed).normal(scale=0.1, size=first.size).astype(np.float32)

    return make


@pytest.fixture
def publish(tmp_path, coordinator, provenance_of, parameters_of):
    """Write a release and return its folder."""

    def make(name="release", *, seed=0, signer=coordinator, replace=False, **changes):
        provenance = provenance_of(**changes)
        write(tmp_path / name, provenance, parameters_of(provenance, seed), signer, name=name, replace=replace)
        return tmp_path / name

    return make


@pytest.fixture
def resign(coordinator):
    """Put other manifest bytes into a release, rightly signed: what a malicious coordinator could publish."""

    def make(directory, change, *, signer=coordinator):
        raw = (directory / "manifest.json").read_bytes()
        values = json.loads(raw)
        raw = change(values)
        raw = raw if isinstance(raw, bytes) else json.dumps(values).encode()
        (directory / "manifest.json").write_bytes(raw)
        signature = Signature.make(signer, Role.COORDINATOR, "isles", raw)
        (directory / "manifest.sig").write_bytes(encode((signature,)))
        return directory

    return make
