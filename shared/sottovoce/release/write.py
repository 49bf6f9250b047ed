"""Write and co-sign a release; its folder appears complete or not at all."""

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

from sottovoce.errors import ReleaseError
from sottovoce.features.normalisation import constants_bytes
from sottovoce.features.spec import FeatureSpec
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.files import clear_asides, folder_aside, write_bytes
from sottovoce.models import discovery
from sottovoce.models.parameters import file_of, model_of, shapes, split
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
    """How a model was made.

    Args:
        config: the run's configuration.
        spec: the feature spec that its digest names.
        agreement: the federation's agreement.
        run: the run's id (16 bytes).
        rounds: number of aggregations.
        promises: (ε, δ) that each joined label states; ignored for a run without privacy.
        start: what the model started from, from `sottovoce.models.initialisation.init_name`.
        seeded: whether a seed replaced the operating system's randomness, as only a simulation may.
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
    """Write a signed release.

    It is written aside, verified as a consumer would, and then renamed.

    Args:
        directory: the release's folder; its parent is created if missing.
        provenance: how the model was made.
        parameters: the global parameters, float32 `[P]`.
        signer: the coordinator's identity, whose key the agreement pins.
        name: the release's name, for people.
        replace: whether an existing release may be replaced. Anything else at `directory` is never replaced.

    Raises:
        ReleaseError: the folder exists, or the release cannot be published.
        ConfigurationError: the parameters do not fit the model, or are not finite.
    """
    if signer.public_key != provenance.agreement.coordinator_key:
        raise ReleaseError("Only the coordinator whose key the agreement pins can sign its release.")
    if provenance.config.feature_spec != provenance.spec.digest:
        raise ReleaseError("The feature spec is not the one that the run was configured with.")
    _expect_free(directory, replace)
    config, spec = provenance.config, provenance.spec
    family = discovery.family(config.task, config.family)
    found = shapes(model_of(family, spec, len(config.classes), parameters))
    tensors = split(parameters, found)
    files = {MODEL_FILE: file_of(parameters, found), CONSTANTS_FILE: constants_bytes(spec)}
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
    """Verify a release, then add a label's signature to it or renew it.

    Args:
        directory: the release's folder.
        identity: the label's identity.
        label: the label's name.
        trusted_key: the coordinator's key.
        digest: SHA-256 (hex) of the manifest that the label has inspected, if no other may be signed.

    Raises:
        ReleaseError: a check fails, the coordinator's key is not the trusted one, or the release has changed since it
            was inspected.
    """
    clear_asides(directory)
    checked = check(directory, trusted_key)
    if digest is not None and hashlib.sha256(checked.raw).hexdigest() != digest:
        raise ReleaseError("The release was replaced by another one meanwhile, which is not signed.")
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
        raise ReleaseError("The release's folder already exists.", hint="Choose another folder.")
    if not _is_release(directory):
        raise ReleaseError(
            "The existing folder is not a release, so it is not replaced.", hint="Choose another folder."
        )


def _is_release(directory: Path) -> bool:
    if directory.is_symlink() or not directory.is_dir():
        return False
    names = {entry.name for entry in directory.iterdir()}
    return MANIFEST_FILE in names and names <= ALLOWED
