"""What the registry is run with: one frozen value, checked at birth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import Agreement

DATABASE_FILE = "registry.sqlite"
LARGEST_FILE = 1 << 30
OPEN_UPLOADS = 4
UPLOAD_SECONDS = 3600
STALL_SECONDS = 60
CLOCK_SKEW_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Settings:
    """The registry's settings.

    Args:
        keys: the coordinators' Ed25519 keys (32 bytes each) whose releases may be published here.
        agreements: of the federations whose labels may co-sign here.
        largest_file: bytes that one file of a release may have; checking a release takes about twice that in memory.
        requests: that one caller may make in a minute.
        refusals: wrong tokens that one address may send in a minute.
    """

    keys: frozenset[bytes]
    agreements: tuple[Agreement, ...] = ()
    largest_file: int = LARGEST_FILE
    requests: int = 600
    refusals: int = 30

    def __post_init__(self) -> None:
        if not self.keys:
            raise ConfigurationError(
                "The registry knows no coordinator, so nobody could publish.", hint="Pin their key with --key."
            )
        for name in ("largest_file", "requests", "refusals"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} to be at least 1.")

    def agreement_of(self, digest: str) -> Agreement | None:
        """The agreement that a manifest names by its digest (hex), if it is known here."""
        return next((each for each in self.agreements if each.digest.hex() == digest), None)


@dataclass(frozen=True)
class DataLocation:
    """Where the registry keeps things: `data` for files, `url` for the database (SQLite in `data` without one)."""

    data: Path
    url: str | None = None


def pinned(keys: Sequence[bytes | None]) -> frozenset[bytes]:
    """The keys that were given."""
    return frozenset(key for key in keys if key is not None)
