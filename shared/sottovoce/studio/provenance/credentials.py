"""Signed content credentials (C2PA): signing and verification.

The library makes no network requests: no timestamp authority, no OCSP, no remote manifests.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sottovoce.errors import ConfigurationError
from sottovoce.files import sha256_file
from sottovoce.studio.provenance.containers import (
    GENERIC,
    LARGEST_EMBEDDED,
    WRITTEN,
    Container,
    embeds,
    mime_of,
    sidecar_of,
)
from sottovoce.studio.provenance.origin import SOURCE_TYPES, Origin
from sottovoce.studio.provenance.signing_key import SigningKey
from sottovoce.version import __version__

if TYPE_CHECKING:
    import c2pa

ORIGIN_LABEL = "org.sottovoce.origin"
_SOURCE = "source"
_PARENT = {"title": _SOURCE, "relationship": "parentOf", "label": _SOURCE}
"""Parent ingredient, identified by digest only: a file's name may be private."""
_HEAD = 16
_LARGEST_SIDECAR = 1 << 24
_IN_MEMORY = 16
"""Size above which the library copies a file to a temporary one instead of into memory, MB; its default is 512."""

_CHANGED = frozenset({"assertion.dataHash.mismatch", "assertion.bmffHash.mismatch", "assertion.boxesHash.mismatch"})
_UNKNOWN_SIGNER = "signingCredential.untrusted"


class State(StrEnum):
    """Result of verifying a file's credentials."""

    ABSENT = "absent"
    TRUSTED = "trusted"
    UNKNOWN_SIGNER = "unknown signer"
    CHANGED = "changed"
    INVALID = "invalid"


@dataclass(frozen=True)
class Credentials:
    """Credentials found in a file.

    Args:
        state: result of the verification.
        problems: C2PA's codes of failed checks.
        signer: name in the signing certificate.
        issuer: organisation in it.
        source_type: IPTC's digital source type, without its URL prefix.
        origin: our description of the audio's origin, if we wrote them.
        audio: SHA-256 of the signed samples, if the format preserves them exactly.
    """

    state: State
    problems: tuple[str, ...] = ()
    signer: str | None = None
    issuer: str | None = None
    source_type: str | None = None
    origin: Origin | None = None
    audio: str | None = None


def sign(
    unsigned: Path,
    signed: Path,
    container: Container,
    origin: Origin,
    key: SigningKey,
    *,
    audio: str | None,
    source: Path | None = None,
) -> bytes | None:
    """Write a signed copy of an audio file.

    Args:
        unsigned: the finished audio, with its tags.
        signed: path of the copy.
        container: container of both.
        origin: description of the audio's origin.
        key: key that signs.
        audio: SHA-256 of its samples, or None if decoders may give different samples.
        source: the edited file, identified by its digest only.

    Returns:
        The credentials, if they are not embedded in the file.

    Raises:
        ConfigurationError: C2PA does not accept the key or its certificate.
    """
    import c2pa

    try:
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(key.algorithm, key.chain, key.private, None))
        # A file with a sidecar is hashed here: the library would take two buffers of 256 MB.
        whole = None if container.embeds else sha256_file(unsigned)
        with _builder(origin, audio, None if origin.made else source, whole) as builder:
            if not container.embeds:
                builder.set_no_embed()
            with unsigned.open("rb") as before, signed.open("w+b") as after:
                manifest: bytes = builder.sign(signer, container.mime, before, after)
    except c2pa.C2paError as error:
        raise ConfigurationError(
            f"The content credentials could not be signed: {error}.",
            hint="A certificate for C2PA allows digital signatures and e-mail protection, and names its authority.",
        ) from None
    return None if container.embeds else manifest


def _builder(origin: Origin, audio: str | None, source: Path | None, whole: str | None) -> "c2pa.Builder":
    """The signer, with the source as parent if the library can parse it: it is stricter than decoders."""
    import c2pa

    changed = None if source is None else sha256_file(source)
    mime = None if source is None else _mime_of(source)
    context = _context(b"", hashed_here=whole is not None)
    if source is not None and mime is not None:
        builder = c2pa.Builder(_manifest(origin, audio, changed, whole, named=True), context)
        try:
            with source.open("rb") as file:
                builder.add_ingredient(_PARENT, mime, file)
        except c2pa.C2paError:
            builder.close()
        else:
            return builder
    return c2pa.Builder(_manifest(origin, audio, changed, whole, named=False), context)


def read(path: Path, trusted: bytes = b"") -> Credentials:
    """Verify a file's credentials.

    Args:
        path: an audio file.
        trusted: PEM certificates of trusted authorities.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        mime = mime_of(file.read(_HEAD))
        if mime is None:
            return Credentials(State.ABSENT)
        beside = _sidecar(path)
        large = path.stat().st_size > LARGEST_EMBEDDED
        found = Credentials(State.ABSENT)
        if embeds(mime) and not (large and beside is not None):
            found = _checked(file, mime, None, trusted)
        if found.state is State.ABSENT and beside is not None:
            found = _checked(file, mime if mime == WRITTEN[".ogg"].mime else GENERIC, beside, trusted)
        return found


def _checked(file: BinaryIO, mime: str, beside: bytes | None, trusted: bytes) -> Credentials:
    import c2pa

    file.seek(0)
    try:
        reader = c2pa.Reader.try_create(mime, file, beside, context=_context(trusted))
        if reader is None:
            return Credentials(State.ABSENT)
        with reader:
            return _read(json.loads(reader.json()))
    except c2pa.C2paError.ManifestNotFound:
        return Credentials(State.ABSENT)
    except (c2pa.C2paError, ValueError, TypeError, KeyError, AttributeError) as error:
        return Credentials(State.INVALID, (type(error).__name__.strip("_"),))


def _sidecar(path: Path) -> bytes | None:
    with contextlib.suppress(OSError), sidecar_of(path).open("rb") as file:
        return file.read(_LARGEST_SIDECAR)
    return None


def _context(trusted: bytes, *, hashed_here: bool = False) -> Any:
    import c2pa

    settings: dict[str, Any] = {
        "verify": {
            "verify_trust": True,
            "remote_manifest_fetch": False,
            "ocsp_fetch": False,
            "verify_after_sign_hash": not hashed_here,
        },
        "core": {"backing_store_memory_threshold_in_mb": _IN_MEMORY},
    }
    if trusted:
        settings["trust"] = {"user_anchors": trusted.decode("ascii", errors="replace")}
    return c2pa.Context.from_dict(settings)


def _manifest(
    origin: Origin, audio: str | None, source: str | None, whole: str | None, *, named: bool
) -> dict[str, Any]:
    """The content to be signed.

    `source` is the digest of the edited file; `named` says whether that file is added as the parent. `whole` is the
    digest of the file to be signed, if its credentials are in a sidecar; None leaves hashing to the library.
    """
    agent = {"name": "Sottovoce", "version": __version__}
    kind = SOURCE_TYPES + origin.source_type
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_SOURCE]}}
    done = {"softwareAgent": agent, "digitalSourceType": kind, "description": origin.operation}
    # In C2PA, a history starts by opening a named file or by creating one.
    actions = [opened, {"action": "c2pa.edited", **done}] if named else [{"action": "c2pa.created", **done}]
    said = {
        "operation": origin.operation,
        "release": origin.release,
        "digest": origin.digest,
        "parameters": dict(origin.parameters),
        **({"audio": audio} if audio else {}),
        **({"source": source} if source else {}),
    }
    return {
        "claim_generator_info": [agent],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": ORIGIN_LABEL, "data": said},
            *([] if whole is None else [{"label": "c2pa.hash.data", "data": _data_hash(whole)}]),
        ],
    }


def _data_hash(whole: str) -> dict[str, Any]:
    """The assertion that binds the credentials to all bytes of a file (C2PA, data hash)."""
    return {"alg": "sha256", "name": "jumbf manifest", "hash": list(bytes.fromhex(whole)), "exclusions": [], "pad": []}


def _mime_of(source: Path) -> str | None:
    """Media type of a source that the library can parse in memory, to name it as the parent."""
    with source.open("rb") as file:
        mime = mime_of(file.read(_HEAD))
    return mime if mime and embeds(mime) and source.stat().st_size <= LARGEST_EMBEDDED else None


def _read(store: Mapping[str, Any]) -> Credentials:
    """Convert the library's report to ours. A malformed one raises; `read` then reports it as invalid."""
    manifest = store["manifests"][store["active_manifest"]]
    results = store.get("validation_results", {}).get("activeManifest", {})
    problems = tuple(sorted({str(each["code"]) for each in results.get("failure", ())}))
    said = _assertion(manifest, ORIGIN_LABEL)
    signature = manifest.get("signature_info", {})
    return Credentials(
        state=_state(problems),
        problems=problems,
        signer=signature.get("common_name"),
        issuer=signature.get("issuer"),
        source_type=_source_type(manifest),
        origin=_origin(said),
        audio=said.get("audio"),
    )


def _state(problems: tuple[str, ...]) -> State:
    if not problems:
        return State.TRUSTED
    if set(problems) == {_UNKNOWN_SIGNER}:
        return State.UNKNOWN_SIGNER
    return State.CHANGED if set(problems) <= {*_CHANGED, _UNKNOWN_SIGNER} else State.INVALID


def _assertion(manifest: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    found = [each["data"] for each in manifest.get("assertions", ()) if each.get("label") == label]
    return found[0] if found and isinstance(found[0], dict) else {}


def _source_type(manifest: Mapping[str, Any]) -> str | None:
    for action in _assertion(manifest, "c2pa.actions.v2").get("actions", ()):
        kind = action.get("digitalSourceType")
        if kind:
            return str(kind).removeprefix(SOURCE_TYPES)
    return None


def _origin(said: Mapping[str, Any]) -> Origin | None:
    if not said:
        return None
    return Origin(said["operation"], said["release"], said["digest"], said["parameters"])
