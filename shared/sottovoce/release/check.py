"""Verification of a release before any of it is used; each passed check is reported in words.

In this order, each step using only what earlier steps have verified:

- the folder holds exactly the files of a release, all of them regular files (an optional `log.json` is checked by
  `sottovoce.release.logged`);
- the signatures are valid over the manifest's bytes, the coordinator's under the caller's trusted key, if any;
- the manifest is strict JSON of a known schema, complete, with every field in range;
- each file has the size and the SHA-256 stated in the manifest, and the normalisation constants are those that the
  feature spec names;
- the model is a safetensors file (never unpickled) of finite float32 tensors with the manifest's names and shapes.

Each file is read once: the bytes that were checked are the bytes that are used.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from sottovoce.errors import ReleaseError
from sottovoce.federation.agreement import Agreement
from sottovoce.release.cosignatures import Cosigned, cosigned_by
from sottovoce.release.manifest import (
    CONSTANTS_FILE,
    CONTENT_FILES,
    LOG_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    SIGNATURE_FILE,
    FileEntry,
    Manifest,
)
from sottovoce.release.manifest_reading import read_manifest
from sottovoce.release.signatures import Role, Signature, decode

LARGEST_MANIFEST = 1 << 20
LARGEST_SIGNATURES = 1 << 22  # bytes; room for 10,000 labels
FILES = frozenset({MANIFEST_FILE, SIGNATURE_FILE, *CONTENT_FILES})
ALLOWED = FILES | {LOG_FILE}
"""Every file that the folder of a release may hold."""

Say = Callable[[str], object]


@dataclass(frozen=True)
class Checked:
    """A verified release.

    Args:
        manifest: the manifest.
        raw: the manifest's signed bytes.
        signatures: all valid, the coordinator's first. Without an agreement, labels state their own keys.
        vouched: whether the coordinator's key is the one that the caller trusts.
        cosigned: how the labels' signatures relate to the agreement; None if no agreement was given.
        tensors: the trained parameters by name, float32.
        constants: the bytes of the normalisation constants that the feature spec names.
    """

    manifest: Manifest
    raw: bytes
    signatures: tuple[Signature, ...]
    vouched: bool
    cosigned: Cosigned | None
    tensors: Mapping[str, NDArray[np.float32]]
    constants: bytes


def check(
    directory: Path,
    trusted_key: bytes | None = None,
    *,
    agreement: Agreement | None = None,
    say: Say = lambda _: None,
) -> Checked:
    """Verify a release without building its model.

    Args:
        directory: the release's folder.
        trusted_key: the coordinator's Ed25519 key (32 bytes), obtained out of band. Without one, the check detects
            damage but not a forger, who would sign with another key.
        agreement: the federation's agreement, obtained out of band: co-signers must be its members, with the keys that
            it pins.
        say: called with one sentence for each passed check.

    Raises:
        ReleaseError: a check fails.
    """
    found = _expect_files(directory)
    evidence = ", the evidence of a log" if LOG_FILE in found else ""
    say(f"The folder holds the {len(FILES)} files of a release{evidence} and nothing else.")
    raw = _read(directory, MANIFEST_FILE, LARGEST_MANIFEST)
    signatures = check_signatures(raw, _read(directory, SIGNATURE_FILE, LARGEST_SIGNATURES), trusted_key, say)
    manifest = read_manifest(raw)
    say("The manifest is complete, and every field is known and in range.")
    cosigned = None if agreement is None else cosigned_by(signatures, agreement, manifest)
    if cosigned is not None:
        say(cosigned.sentence)
    elif labels := [each.name for each in signatures if each.role is Role.LABEL]:
        say(f"It is co-signed, with keys stated by the signers, by {', '.join(labels)}.")
    contents = {name: _content(directory, name, manifest.files[name]) for name in CONTENT_FILES}
    say("Every file has the size and SHA-256 of the manifest, and the constants are those of the feature spec.")
    tensors = _tensors(contents[MODEL_FILE], manifest.shapes)
    say(f"The model's {manifest.parameters:,} parameters are finite, with the manifest's names and shapes.")
    return Checked(manifest, raw, signatures, trusted_key is not None, cosigned, tensors, contents[CONSTANTS_FILE])


def _expect_files(directory: Path) -> frozenset[str]:
    try:
        with os.scandir(directory) as entries:
            found = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    except FileNotFoundError:
        raise ReleaseError("There is no such folder.", hint="Pass the folder that contains manifest.json.") from None
    except NotADirectoryError:
        raise ReleaseError("A release is a folder, not a file.", hint="Pass the folder that contains it.") from None
    except OSError as error:
        raise ReleaseError(f"The release's folder cannot be read: {error.strerror}.") from None
    if MANIFEST_FILE not in found:
        raise ReleaseError("This folder is not a release: it has no manifest.json.", hint=_inside(directory))
    for name in sorted(FILES - set(found)):
        raise ReleaseError(f"The release's {name} is missing.", hint="Download the release again.")
    for name in sorted(found):
        if name not in ALLOWED:
            raise ReleaseError(
                f"The release's folder contains {name!r}, which does not belong to a release.",
                hint="It is not signed: move it elsewhere if you put it there.",
            )
        if not found[name]:
            raise ReleaseError(f"The release's {name} is not a regular file.", hint="Download the release again.")
    return frozenset(found)


def _inside(directory: Path) -> str:
    """Hint at the release when a run's folder was passed instead."""
    if (directory / "release" / MANIFEST_FILE).is_file():
        return "The release is its subfolder 'release'."
    return "Pass the folder that contains manifest.json."


def _read(directory: Path, name: str, limit: int) -> bytes:
    """A regular file's bytes. It is opened once, without following links or blocking on a pipe."""
    try:
        handle = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise ReleaseError(f"The release's {name} is not a regular file.")
            if found.st_size > limit:
                raise ReleaseError(f"The release's {name} is larger than {limit:,} bytes, the limit.")
            return file.read(found.st_size)
    except OSError as error:
        reason = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise ReleaseError(f"The release's {name} cannot be read: {reason}.") from None


def check_signatures(
    raw: bytes, data: bytes, trusted_key: bytes | None, say: Say = lambda _: None
) -> tuple[Signature, ...]:
    """Verify the signatures of a manifest; the arguments are those of `check`.

    Args:
        raw: the manifest's bytes.
        data: the bytes of `manifest.sig`.

    Raises:
        ReleaseError: a signature is invalid, or the coordinator's key is not the trusted one.
    """
    signatures = decode(data)
    coordinator = signatures[0]
    for each in signatures:
        if not each.holds(raw):
            raise ReleaseError(
                f"The signature of the {each.role} '{each.name}' is not valid for the manifest.",
                hint="The manifest was changed after it was signed. Do not use this release; download it again.",
            )
    if trusted_key is not None and coordinator.public_key != trusted_key:
        raise ReleaseError(
            f"The release is signed with another key than the one you trust: {coordinator.public_key.hex()}.",
            hint="Do not use it unless the coordinator confirms out of band that this is their key.",
        )
    who = (
        f"The manifest is signed by the coordinator of '{coordinator.name}' with the key {coordinator.public_key.hex()}"
    )
    say(f"{who}, which is the one you trust." if trusted_key else f"{who}, a key that you have not confirmed.")
    return signatures


def _content(directory: Path, name: str, entry: FileEntry) -> bytes:
    data = _read(directory, name, entry.size)
    if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ReleaseError(
            f"The release's {name} is not the file that was signed.",
            hint="It is damaged or was replaced. Do not use this release; download it again.",
        )
    return data


def _tensors(data: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    try:
        tensors: dict[str, NDArray[np.float32]] = load_safetensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise ReleaseError(f"The release's {MODEL_FILE} is not a safetensors file.") from None
    if {name: value.shape for name, value in tensors.items()} != dict(shapes):
        raise ReleaseError(f"The tensors in {MODEL_FILE} do not have the manifest's names and shapes.")
    for name, value in tensors.items():
        if value.dtype != np.float32:
            raise ReleaseError(f"The tensor '{name}' is of type {value.dtype} instead of float32.")
        if not np.isfinite(value).all():
            raise ReleaseError(f"The tensor '{name}' contains a number that is not finite.")
    return tensors
