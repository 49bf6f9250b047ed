"""The registry's configuration: one frozen value, checked when constructed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import Agreement

LARGEST_FILE = 1 << 30
OPEN_UPLOADS = 4
UPLOAD_SECONDS = 3600
STALL_SECONDS = 60
CLOCK_SKEW_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Settings:
    """The registry's configuration.

    Args:
        keys: Ed25519 keys (32 bytes each) of the coordinators that may publish here.
        agreements: agreements of the federations whose labels may co-sign here.
        largest_file: largest file of a release, bytes; verification needs about twice that in memory.
        requests: allowed requests per caller and minute.
        refusals: allowed wrong tokens per address and minute.
    """

    keys: frozenset[bytes]
    agreements: tuple[Agreement, ...] = ()
    largest_file: int = LARGEST_FILE
    requests: int = 600
    refusals: int = 30

    def __post_init__(self) -> None:
        if not self.keys:
            raise ConfigurationError(
                "No coordinator's key is given, so nobody could publish.", hint="Pin their key with --key."
            )
        for name in ("largest_file", "requests", "refusals"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Expected {name} to be at least 1.")

    def agreement_of(self, digest: str) -> Agreement | None:
        """The agreement with this digest (hex), if known."""
        return next((each for each in self.agreements if each.digest.hex() == digest), None)


def pinned(keys: Sequence[bytes | None]) -> frozenset[bytes]:
    """The given keys without None."""
    return frozenset(key for key in keys if key is not None)
