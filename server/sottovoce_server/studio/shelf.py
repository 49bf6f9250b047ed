"""The releases that the studio uses: verified before they are served, and again whenever their files change."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import ReleaseError
from sottovoce.federation.agreement import Agreement
from sottovoce.release.check import Checked, check
from sottovoce.release.manifest import MANIFEST_FILE, Manifest
from sottovoce.release.versions import version_of


@dataclass(frozen=True)
class Trust:
    """A coordinator's key that the operator trusts.

    Args:
        key: Ed25519 key (32 bytes).
        agreement: agreement whose members may have co-signed, or None.
    """

    key: bytes
    agreement: Agreement | None = None


@dataclass(frozen=True)
class Shelved:
    """A release that can be used.

    Args:
        folder: its folder.
        digest: SHA-256 (hex) of its manifest.
        manifest: its manifest.
        vouched: whether it is signed with a key that the operator trusts; if not, no key was given.
        cosigners: names of the labels that co-signed.
        checks: what was checked, in sentences.
    """

    folder: Path
    digest: str
    manifest: Manifest
    vouched: bool
    cosigners: tuple[str, ...]
    checks: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name and version, which identify it to people."""
        return f"{self.manifest.name}@{version_of(self.manifest)}"


class Shelf:
    """Releases in folders.

    Args:
        folders: each one a release, or holding releases.
        trusted: keys that releases must be signed with; without any, releases are only checked for damage.
    """

    def __init__(self, folders: Sequence[Path], trusted: Sequence[Trust] = ()) -> None:
        self._folders = folders
        self._trusted = trusted
        self._seen: dict[Path, tuple[object, Shelved | ReleaseError]] = {}

    def releases(self) -> Mapping[str, Shelved]:
        """All releases that can be used, by name with version, the newest first; checked if they are new or changed."""
        found = [each for each in self._examined().values() if isinstance(each, Shelved)]
        found.sort(key=lambda each: (version_of(each.manifest), each.name), reverse=True)
        return {each.name: each for each in found}

    def refused(self) -> Mapping[Path, ReleaseError]:
        """Folders whose release is not served, and why."""
        return {folder: each for folder, each in self._examined().items() if isinstance(each, ReleaseError)}

    def find(self, name: str) -> Shelved | None:
        """A release by its name, or by its name without a version: the newest."""
        releases = self.releases()
        return releases.get(name) or next((each for each in releases.values() if each.manifest.name == name), None)

    def _examined(self) -> Mapping[Path, Shelved | ReleaseError]:
        now: dict[Path, tuple[object, Shelved | ReleaseError]] = {}
        for folder in self._candidates():
            state = _state(folder)
            known = self._seen.get(folder)
            now[folder] = known if known is not None and known[0] == state else (state, self._checked(folder))
        self._seen = now
        return {folder: result for folder, (_, result) in now.items()}

    def _candidates(self) -> Iterator[Path]:
        for folder in self._folders:
            if (folder / MANIFEST_FILE).is_file():
                yield folder
            elif folder.is_dir():
                yield from sorted(found.parent for found in folder.glob(f"*/{MANIFEST_FILE}"))
                yield from sorted(found.parent for found in folder.glob(f"*/release/{MANIFEST_FILE}"))

    def _checked(self, folder: Path) -> Shelved | ReleaseError:
        problem = None
        for trust in self._trusted or (None,):
            said: list[str] = []
            try:
                found = check(
                    folder,
                    None if trust is None else trust.key,
                    agreement=None if trust is None else trust.agreement,
                    say=said.append,
                )
                return _shelved(folder, found, said)
            except ReleaseError as error:
                problem = error
        return problem or ReleaseError("No key is trusted.")


def _shelved(folder: Path, found: Checked, said: Sequence[str]) -> Shelved:
    if found.cosigned is not None:
        cosigners: Sequence[str] = found.cosigned.labels
    else:
        cosigners = [each.name for each in found.signatures[1:]]
    digest = hashlib.sha256(found.raw).hexdigest()
    return Shelved(folder.resolve(), digest, found.manifest, found.vouched, tuple(cosigners), tuple(said))


def _state(folder: Path) -> object:
    """Changes when a release is replaced or damaged, unless somebody also forges the times of its files."""
    try:
        return [
            (each.name, (stat := each.stat()).st_mtime_ns, stat.st_size, stat.st_ino)
            for each in sorted(folder.iterdir())
        ]
    except OSError:
        return None
