"""Download a release: nothing can be used before everything is verified against the pinned key.

In this order: the manifest's signatures under the pinned key; that it is the requested release, not older than and not
different from what was seen before; that it is in the coordinator's log, and that the log extends the one seen before;
then each file by the size and digest in the manifest, in a separate folder, resuming an interrupted download; then the
whole release as by `check`; only then does its folder appear.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sottovoce.errors import ConfigurationError, RegistryError, ReleaseError
from sottovoce.federation.agreement import NAME, Agreement
from sottovoce.federation.log import LARGEST_EVIDENCE, Evidence, LogMemory
from sottovoce.files import folder_aside, sha256_file, write_bytes
from sottovoce.release.check import (
    FILES,
    LARGEST_MANIFEST,
    LARGEST_SIGNATURES,
    Checked,
    check,
    check_signatures,
)
from sottovoce.release.cosignatures import extended
from sottovoce.release.logged import check_logged
from sottovoce.release.manifest import CONTENT_FILES, LOG_FILE, MANIFEST_FILE, SIGNATURE_FILE, FileEntry, Manifest
from sottovoce.release.manifest_reading import read_manifest
from sottovoce.release.registry_client import Progress, Refused, RegistryClient
from sottovoce.release.seen_versions import Seen
from sottovoce.release.signatures import decode, encode
from sottovoce.release.versions import VERSION, Reference, expect_identity, version_of

PAGES = 1000
NOT_FOUND = 404
"""HTTP status of a file that the registry does not have."""


@dataclass(frozen=True)
class Listed:
    """A model as a registry lists it: unsigned, for display only."""

    name: str
    visibility: str
    newest: str | None
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Pulled:
    """Result of a pull.

    Args:
        reference: the release's name and version.
        checked: the verified release.
        already: whether its folder was already present and valid.
        logged: result of the check against the coordinator's log, as a sentence; None if no log was ever seen.
    """

    reference: Reference
    checked: Checked
    already: bool
    logged: str | None


def listed(client: RegistryClient) -> list[Listed]:
    """The models in a registry that the caller may see.

    Raises:
        RegistryError: it cannot be reached, or its answer is invalid.
    """
    found: list[Listed] = []
    after = ""
    for _ in range(PAGES):
        page = _expect(client.json(f"models?after={after}"), dict)
        found += [_listed(each) for each in _expect(page.get("models"), list)]
        if page.get("next") is None:
            return found
        following = _text(page["next"])
        if not NAME.fullmatch(following) or following <= after:
            raise _unreadable()
        after = following
    raise _unreadable()


def pull(
    client: RegistryClient,
    wanted: Reference,
    key: bytes,
    out: Path,
    *,
    seen: Seen,
    memory: LogMemory,
    agreement: Agreement | None = None,
    progress: Progress = lambda *_: None,
) -> Pulled:
    """Download a release, verify it and move it to its folder.

    Args:
        client: client for the registry.
        wanted: the release; without a version, the newest.
        key: the coordinator's Ed25519 key (32 bytes), obtained out of band.
        out: the release's folder. An older release of the same name is replaced, anything else is not.
        seen: record of earlier pulls.
        memory: record of coordinators' logs seen before.
        agreement: if given, only its members may have co-signed; None: labels state their own keys.
        progress: called as bytes arrive.

    Raises:
        ReleaseError: a check of the release fails, or it is older than one that was seen or is present, or has another
            content.
        SplitView: the coordinator's log contradicts the one seen before.
        RegistryError: the registry cannot be reached, or refuses the request.
    """
    reference = wanted if wanted.version else Reference(wanted.name, _newest(client, wanted.name))
    if wanted.version is None:
        seen.expect_no_older(key, reference)
    path = f"models/{reference.name}/{reference.version}"
    with _work_folder(out) as work:
        raw = client.content(f"{path}/files/{MANIFEST_FILE}", LARGEST_MANIFEST)
        signed = client.content(f"{path}/files/{SIGNATURE_FILE}", LARGEST_SIGNATURES)
        check_signatures(raw, signed, key)
        manifest = read_manifest(raw)
        expect_identity(manifest, reference.name, reference.version or "")
        seen.expect_same(key, reference, raw)
        evidence = _evidence(client, f"{path}/files/{LOG_FILE}")
        logged = check_logged(raw, key, evidence, memory)
        there = _standing(out, manifest, key)
        if there is not None and there.raw == raw:
            _extend(out, there, signed)
            if evidence is not None and not (out / LOG_FILE).exists():
                evidence.write(out / LOG_FILE)
            seen.remember(key, reference, raw)
            return Pulled(reference, check(out, key, agreement=agreement), already=True, logged=logged)
        for name in CONTENT_FILES:
            _fetch(client, f"{path}/files/{name}", manifest.files[name], work / name, progress)
        write_bytes(work / MANIFEST_FILE, raw)
        write_bytes(work / SIGNATURE_FILE, signed)
        with folder_aside(out) as aside:
            for name in FILES:
                (work / name).replace(aside / name)
            if evidence is not None:
                evidence.write(aside / LOG_FILE)
            checked = check(aside, key, agreement=agreement)
            _standing(out, manifest, key)
        seen.remember(key, reference, raw)
        shutil.rmtree(work)
    return Pulled(reference, checked, already=False, logged=logged)


def _evidence(client: RegistryClient, path: str) -> Evidence | None:
    """What the registry has to show that a release is in the log; None where it has nothing."""
    try:
        return Evidence.from_bytes(client.content(path, LARGEST_EVIDENCE))
    except Refused as refusal:
        if refusal.status != NOT_FOUND:
            raise
        return None
    except ConfigurationError as error:
        raise ReleaseError(f"The registry's {LOG_FILE}: {error.message}", hint=error.hint) from None


def _newest(client: RegistryClient, name: str) -> str:
    found = _listed(client.json(f"models/{name}"))
    if found.name != name:
        raise _unreadable()
    if found.newest is None:
        raise ReleaseError(f"All releases of {name} have been withdrawn.", hint="Ask the coordinator.")
    return found.newest


def _standing(out: Path, manifest: Manifest, key: bytes) -> Checked | None:
    """The release at `out` that may be replaced or is the same; None if there is none."""
    if not out.exists() and not out.is_symlink():
        return None
    if out.is_dir() and not out.is_symlink() and not any(out.iterdir()):
        return None
    try:
        there = check(out, key)
    except ReleaseError as error:
        raise ReleaseError(
            f"The output folder contains something else: {error.message}",
            hint="It is not overwritten. Choose another folder, or move it away.",
        ) from None
    if there.manifest.name != manifest.name:
        raise ReleaseError(
            f"The folder already contains a release of '{there.manifest.name}'.", hint="Choose another folder."
        )
    if there.manifest.created > manifest.created:
        raise ReleaseError(
            f"The folder already contains a newer release: {version_of(there.manifest)}.", hint="Choose another folder."
        )
    if there.manifest.created == manifest.created and there.manifest != manifest:
        raise ReleaseError(
            f"The folder contains a different release of version {version_of(manifest)}, but versions never change.",
            hint="The coordinator signed both. Do not use it until they explain why.",
        )
    return there


def _extend(out: Path, there: Checked, signed: bytes) -> None:
    """Add signatures made since; present ones are kept, whatever the registry sends."""
    signatures = extended(there.signatures, decode(signed), there.raw)
    if len(signatures) > len(there.signatures):
        write_bytes(out / SIGNATURE_FILE, encode(signatures))


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """Folder beside `out` that keeps a download for its next attempt; locked by one process at a time."""
    work = out.parent / f".{out.name}.download"
    work.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigurationError("Another download to the same folder is in progress.") from None
    try:
        work.mkdir(exist_ok=True)
        yield work
    finally:
        if work.is_dir() and not any(work.iterdir()):
            work.rmdir()
        if not work.exists():
            work.with_suffix(".lock").unlink(missing_ok=True)
        lock.release()


def _fetch(client: RegistryClient, path: str, entry: FileEntry, target: Path, progress: Progress) -> None:
    """Download a file with the digest in the manifest. A resumed file that does not match is downloaded again, once."""
    if target.is_file() and _fits(target, entry):
        progress(target.name, entry.size, entry.size)
        return
    partial = target.with_name(f"{entry.sha256}.part")
    resumed = partial.exists()
    client.download(path, entry, partial, progress)
    if resumed and not _fits(partial, entry):
        partial.unlink()
        client.download(path, entry, partial, progress)
    if not _fits(partial, entry):
        partial.unlink()
        raise ReleaseError(
            f"The registry sent a {target.name} that is not the file that was signed.",
            hint="It is damaged or was replaced. Tell the registry's operator.",
        )
    partial.replace(target)


def _fits(path: Path, entry: FileEntry) -> bool:
    return path.stat().st_size == entry.size and sha256_file(path) == entry.sha256


def _listed(value: Any) -> Listed:
    value = _expect(value, dict)
    versions = tuple(_text(_expect(each, dict).get("version")) for each in _expect(value.get("releases"), list))
    newest = None if value.get("newest") is None else _text(value["newest"])
    name = _text(value.get("name"))
    if not NAME.fullmatch(name) or not all(map(VERSION.fullmatch, versions)) or newest not in (None, *versions):
        raise _unreadable()
    return Listed(name, _text(value.get("visibility")), newest, versions)


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise _unreadable()
    return value


def _text(value: Any) -> str:
    if type(value) is not str or not value.isprintable():
        raise _unreadable()
    return value


def _unreadable() -> RegistryError:
    return RegistryError("The registry's answer cannot be read.", hint="Is this the address of a registry?")
