"""Versions of releases that this user has pulled, so that a registry can offer neither older nor altered ones.

A registry (or anybody between) cannot forge a release, but it could withhold a newer one. So the newest pulled version
is remembered for each key and name, with the digest of its manifest (as in The Update Framework, section 5: rollback
and freeze attacks).
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from filelock import FileLock
from platformdirs import user_state_path

from sottovoce.errors import ReleaseError
from sottovoce.files import write_text
from sottovoce.release.manifest import DIGEST
from sottovoce.release.versions import VERSION, Reference

FILE = "releases-seen.json"
_Version = Annotated[str, msgspec.Meta(pattern=rf"\A(?:{VERSION.pattern})\Z")]
_Digest = Annotated[str, msgspec.Meta(pattern=rf"\A(?:{DIGEST.pattern})\Z")]
_Record = dict[str, dict[_Version, _Digest]]


@dataclass(frozen=True)
class Seen:
    """A record of pulled versions in a file; `default` is the user's own."""

    path: Path

    @classmethod
    def default(cls) -> "Seen":
        """The user's own record."""
        return cls(user_state_path("sottovoce") / FILE)

    def newest(self, key: bytes, name: str) -> str | None:
        """The newest version of a name seen from this coordinator."""
        return max(self._read().get(_about(key, name), {}), default=None)

    def expect_no_older(self, key: bytes, offered: Reference) -> None:
        """Check that the version offered as newest is not older than one seen before.

        Raises:
            ReleaseError: it is older.
        """
        newest = self.newest(key, offered.name)
        if newest is not None and (offered.version or "") < newest:
            raise ReleaseError(
                f"The registry offers {offered} as the newest, but you have seen {newest}, which is newer.",
                hint="It may have been withdrawn; ask the coordinator. To pull the older one anyway, name its version.",
            )

    def expect_same(self, key: bytes, reference: Reference, manifest: bytes) -> None:
        """Check that a version seen before has not changed.

        Raises:
            ReleaseError: its content is different.
        """
        before = self._read().get(_about(key, reference.name), {}).get(reference.version or "")
        if before is not None and before != hashlib.sha256(manifest).hexdigest():
            raise ReleaseError(
                f"{reference} has changed since you pulled it, but a published version never changes.",
                hint="The coordinator signed both. Do not use it until they explain why.",
            )

    def remember(self, key: bytes, reference: Reference, manifest: bytes) -> None:
        """Record a pulled version."""
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
            return msgspec.json.decode(self.path.read_bytes(), type=_Record)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
            raise ReleaseError(
                "The record of pulled releases is damaged, so older releases would not be recognised.",
                hint=f"Inspect {self.path}; deleting it clears the record.",
            ) from None


def _about(key: bytes, name: str) -> str:
    return f"{key.hex()}/{name}"
