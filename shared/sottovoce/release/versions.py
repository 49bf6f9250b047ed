"""Versions of releases: the time of creation, as stated in the signed manifest.

Only the signer can set a release's name and version, and versions sort chronologically (decision 0020).
"""

import re
from dataclasses import dataclass

from sottovoce.errors import ConfigurationError, ReleaseError
from sottovoce.federation.agreement import NAME
from sottovoce.release.manifest import Manifest

VERSION = re.compile(r"[0-9]{8}T[0-9]{6}Z")


def version_of(manifest: Manifest) -> str:
    """The version of a release, such as 20250131T120000Z."""
    return manifest.created.replace("-", "").replace(":", "")


def publishable_name(manifest: Manifest) -> str:
    """The name of a release, if a registry can use it in a URL.

    Raises:
        ReleaseError: it cannot be used.
    """
    if not NAME.fullmatch(manifest.name):
        raise ReleaseError(
            "The release's name cannot be used in a registry: use small letters, digits, '.', '_' and '-', "
            "at most 63 characters, starting with a letter or digit.",
        )
    return manifest.name


@dataclass(frozen=True)
class Reference:
    """A name, and a version or None for the newest."""

    name: str
    version: str | None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Read `NAME` or `NAME@VERSION`.

        Raises:
            ConfigurationError: the text is neither.
        """
        name, at, version = text.partition("@")
        if not NAME.fullmatch(name) or (at and not VERSION.fullmatch(version)):
            raise ConfigurationError(
                "That is not a release's name.",
                hint="Write NAME or NAME@VERSION, such as isles-style-svm@20250131T120000Z; "
                "`sottovoce release list` shows all releases.",
            )
        return cls(name, version if at else None)

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def expect_identity(manifest: Manifest, name: str, version: str) -> None:
    """Check that the registry sent the requested release.

    Raises:
        ReleaseError: the manifest belongs to another release.
    """
    if (manifest.name, version_of(manifest)) != (name, version):
        raise ReleaseError(
            f"The registry sent another release than {name}@{version}.",
            hint="Its signed manifest states another name or time. Do not use it, and tell the coordinator.",
        )
