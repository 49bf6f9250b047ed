"""The agreement that binds a federation: who takes part, under which keys, by which rules.

It reaches the labels out of band, so the coordinator is not the key directory: what it pins is what a label trusts.
"""

import re
from dataclasses import dataclass

from sottovoce.canonical import digest
from sottovoce.errors import ConfigurationError
from sottovoce.identity import PUBLIC_KEY_BYTES

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
LEAST_PARTICIPANTS = 3
MOST_LABELS = 10_000


@dataclass(frozen=True)
class Member:
    """A label as the federation knows it: its name and its pinned Ed25519 identity key (32 bytes)."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"'{self.name}' cannot be a label's name.",
                hint="Use 1 to 63 of a-z, 0-9, '.', '_' and '-', starting with a letter or a digit.",
            )
        if len(self.public_key) != PUBLIC_KEY_BYTES:
            raise ConfigurationError(f"The key of '{self.name}' has {len(self.public_key)} bytes instead of 32.")


@dataclass(frozen=True)
class Agreement:
    """The rules of a federation; its digest is named in every announcement and every release.

    Args:
        federation: the federation's name.
        coordinator_key: the coordinator's Ed25519 key (32 bytes), which signs releases.
        members: every label that may take part, with its pinned key, sorted by name.
        n_min: the least number of participants of a round.
        cross_check: whether survivors sign the survivor set before any share is released.
    """

    federation: str
    coordinator_key: bytes
    members: tuple[Member, ...]
    n_min: int = LEAST_PARTICIPANTS
    cross_check: bool = True

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if names != sorted(set(names)):
            raise ConfigurationError("The agreement's labels must be sorted by name, each named once.")
        if len({member.public_key for member in self.members}) != len(names):
            raise ConfigurationError("Two labels of the agreement share one identity key.")
        if self.n_min < LEAST_PARTICIPANTS:
            raise ConfigurationError(
                f"n_min = {self.n_min}, but a sum over fewer than {LEAST_PARTICIPANTS} labels hides nobody."
            )
        if not self.n_min <= len(names) <= MOST_LABELS:
            raise ConfigurationError(
                f"The agreement names {len(names)} labels; it needs {self.n_min} (n_min) to {MOST_LABELS}."
            )

    @property
    def digest(self) -> bytes:
        """SHA-256 of the agreement's canonical bytes (32 bytes)."""
        return digest(self)

    def key_of(self, name: str) -> bytes | None:
        """The pinned identity key of a label, or None for a label nobody knows."""
        return next((member.public_key for member in self.members if member.name == name), None)
