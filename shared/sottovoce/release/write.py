"""Publishes a release: the folder appears whole, or not at all."""

import hashlib
import math
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from sottovoce.errors import ReleaseError
from sottovoce.features.normalisation import constants_bytes
from sottovoce.features.spec import FeatureSpec
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.files import folder_aside, write_bytes
from sottovoce.models import discovery
from sottovoce.models.parameters import model_of, shapes, split
from sottovoce.privacy.accountant import ACCOUNTANT, NEIGHBOURS
from sottovoce.release.check import ALLOWED, check
from sottovoce.release.load import load
from sottovoce.release.manifest import (
    CONSTANTS_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    SIGNATURE_FILE,
    TIME_FORMAT,
    FileEntry,
    Manifest,
    Noise,
    Privacy,
    Promise,
)
from sottovoce.release.signatures import Role, Signature, encode
from sottovoce.run.configuration import RunConfiguration

SOFTWARE = ("sottovoce", "torch", "torchaudio", "opacus", "dp-accounting", "flwr", "numpy")


@dataclass(frozen=True)
class Provenance:
    """How a model came about.

    Args:
        config: of the run.
        spec: the feature spec that its digest names.
        agreement: of the federation.
        run: id of the run (16 bytes).
        rounds: aggregations that the model has seen.
        promises: (ε, δ) as each label that joined has promised it; the figures of a run without privacy are ignored.
        start: what the model started from, as `sottovoce.models.initialisation.init_name` gives it.
        seeded: whether a seed stood in for the operating system's entropy, as only a simulation may.
    """

    config: RunConfiguration
    spec: FeatureSpec
    agreement: Agreement
    run: bytes
    rounds: int
    promises: Sequence[tuple[float, float]]
    start: str
    seeded: bool


def write(
    directory: Path,
    provenance: Provenance,
    parameters: NDArray[np.float32],
    signer: Identity,
    *,
    name: str,
    replace: bool = False,
) -> Manifest:
    """Publish a model.

    It is written aside, checked as a consumer would, and then renamed.

    Args:
        directory: where; its parent is made if need be.
        provenance: how the model came about.
        parameters: the global model's, float32 `[P]`.
        signer: the coordinator's identity, whose key the agreement pins.
        name: of the release, for people.
        replace: whether a release that is already there may be replaced. Anything else that is there never is.

    Raises:
        ReleaseError: something is there already, or what would be published cannot be.
        ConfigurationError: the parameters do not fit the model, or hold a number that is not finite.
    """
    if signer.public_key != provenance.agreement.coordinator_key:
        raise ReleaseError("Only the coordinator whose key the agreement pins can sign its release.")
    if provenance.config.feature_spec != provenance.spec.digest:
        raise ReleaseError("The feature spec is not the one that the run was configured with.")
    _expect_free(directory, replace)
    config, spec = provenance.config, provenance.spec
    family = discovery.family(config.task, config.family)
    tensors = split(parameters, shapes(model_of(family, spec, len(config.classes), parameters)))
    files = {MODEL_FILE: save(tensors), CONSTANTS_FILE: constants_bytes(spec)}
    manifest = _manifest(name, provenance, tensors, files)
    raw = manifest.to_bytes()
    signature = Signature.make(signer, Role.COORDINATOR, provenance.agreement.federation, raw)
    files |= {MANIFEST_FILE: raw, SIGNATURE_FILE: encode((signature,))}
    with folder_aside(directory) as aside:
        for file, data in files.items():
            write_bytes(aside / file, data)
        load(aside, signer.public_key)
        _expect_free(directory, replace)
    return manifest


def cosign(directory: Path, identity: Identity, *, label: str, trusted_key: bytes, digest: str | None = None) -> None:
    """Add a label's signature to a release, or renew it, after the release was checked.

    Args:
        directory: the release.
        identity: the label's.
        label: its name.
        trusted_key: the coordinator's.
        digest: of the manifest that the label has looked at, SHA-256 (hex), where it matters that no other is signed.

    Raises:
        ReleaseError: the release is not in order, not of the coordinator with the key that the label trusts, or no
            longer the one that was looked at.
    """
    checked = check(directory, trusted_key)
    if digest is not None and hashlib.sha256(checked.raw).hexdigest() != digest:
        raise ReleaseError("The release was exchanged for another one meanwhile, which is not signed.")
    kept = tuple(each for each in checked.signatures if (each.role, each.name) != (Role.LABEL, label))
    own = Signature.make(identity, Role.LABEL, label, checked.raw)
    write_bytes(directory / SIGNATURE_FILE, encode((*kept, own)))


def _manifest(
    name: str, provenance: Provenance, tensors: Mapping[str, NDArray[np.float32]], files: Mapping[str, bytes]
) -> Manifest:
    config = provenance.config
    return Manifest(
        name=name,
        task=config.task,
        family=config.family,
        classes=config.classes,
        features=provenance.spec,
        parameters=sum(value.size for value in tensors.values()),
        shapes={name: value.shape for name, value in tensors.items()},
        start=provenance.start,
        rounds=provenance.rounds,
        labels=len(provenance.promises),
        privacy=_privacy(provenance),
        agreement=provenance.agreement.digest.hex(),
        run=provenance.run.hex(),
        configuration=config.digest.hex(),
        created=datetime.now(UTC).strftime(TIME_FORMAT),
        software={"python": platform.python_version(), **{name: version(name) for name in SOFTWARE}},
        files={file: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for file, data in files.items()},
    )


def _privacy(provenance: Provenance) -> Privacy:
    config = provenance.config
    counted = sorted(Counter(provenance.promises).items()) if config.private else []  # strongest first
    noise = Noise.SEEDED if provenance.seeded else Noise.SYSTEM
    return Privacy(
        unit=config.unit,
        neighbours=NEIGHBOURS,
        trust=config.trust,
        min_honest=config.distributed.min_honest if config.distributed else 1,
        accountant=ACCOUNTANT,
        noise=noise if config.private else Noise.NONE,
        promises=tuple(
            Promise(labels, epsilon if math.isfinite(epsilon) else None, delta) for (epsilon, delta), labels in counted
        ),
    )


def _expect_free(directory: Path, replace: bool) -> None:
    if not os.path.lexists(directory):
        return
    if not replace:
        raise ReleaseError("There is something at the release's place already.", hint="Choose another folder.")
    if not _is_release(directory):
        raise ReleaseError(
            "What is at the release's place is not a release, so it is not replaced.", hint="Choose another folder."
        )


def _is_release(directory: Path) -> bool:
    if directory.is_symlink() or not directory.is_dir():
        return False
    names = {entry.name for entry in directory.iterdir()}
    return MANIFEST_FILE in names and names <= ALLOWED
