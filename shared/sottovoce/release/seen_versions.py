"""What this user has seen of each coordinator's releases, so that a registry can offer neither older nor other ones.

A registry (or whoever sits between) cannot forge a release, but it could keep back a newer one. So the newest version
that was ever pulled is remembered for each key and name, with the digest of its manifest (as in The Update Framework,
section 5: rollback and freeze attacks).
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from platformdirs import user_state_path

from sottovoce.errors import ReleaseError
from sottovoce.files import write_text
from sottovoce.release.manifest import DIGEST
from sottovoce.release.versions import VERSION, Reference

FILE = "releases-seen.json"


@dataclass(frozen=True)
class Seen:
    """A memory in a file; `default` is the user's own."""

    path: Path

    @classmethod
    def default(cls) -> "Seen":
        """The user's memory."""
        return cls(user_state_path("sottovoce") / FILE)

    def newest(self, key: bytes, name: str) -> str | None:
        """The newest version of a name that this coordinator's releases were seen in."""
        return max(self._read().get(_about(key, name), {}), default=None)

    def expect_no_older(self, key: bytes, offered: Reference) -> None:
        """What is offered as the newest must not be older than what was seen.

        Raises:
            ReleaseError: it is.
        """
        newest = self.newest(key, offered.name)
        if newest is not None and (offered.version or "") < newest:
            raise ReleaseError(
                f"The registry offers {offered} as the newest, but you have seen {newest}: it keeps back a newer one.",
                hint="It may have been withdrawn; ask the coordinator. Naming the version takes it all the same.",
            )

    def expect_same(self, key: bytes, reference: Reference, manifest: bytes) -> None:
        """A version that was seen must be what it was.

        Raises:
            ReleaseError: it is another one.
        """
        before = self._read().get(_about(key, reference.name), {}).get(reference.version or "")
        if before is not None and before != hashlib.sha256(manifest).hexdigest():
            raise ReleaseError(
                f"{reference} is another release than it was, though a published version never changes.",
                hint="The coordinator signed both. Do not use it before they have explained it.",
            )

    def remember(self, key: bytes, reference: Reference, manifest: bytes) -> None:
        """Note what was pulled."""
        with self._locked():
            seen = self._read()
            versions = seen.setdefault(_about(key, reference.name), {})
            versions[reference.version or ""] = hashlib.sha256(manifest).hexdigest()
            write_text(self.path, json.dumps(seen, indent=2) + "\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            yield

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            seen = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            raise self._damaged() from None
        if not isinstance(seen, dict) or not all(map(_is_memory, seen.values())):
            raise self._damaged()
        return seen

    def _damaged(self) -> ReleaseError:
        return ReleaseError(
            "The memory of releases that were seen is damaged, so that an older one could not be told.",
            hint=f"Look at {self.path}; removing it forgets what was seen.",
        )


def _is_memory(value: object) -> bool:
    return isinstance(value, dict) and all(
        VERSION.fullmatch(version) and isinstance(digest, str) and DIGEST.fullmatch(digest)
        for version, digest in value.items()
    )


def _about(key: bytes, name: str) -> str:
    return f"{key.hex()}/{name}"
