"""The agreement of a federation: its labels, their keys and its rules.

Labels receive it out of band and trust the keys that it pins, so the coordinator is not the key directory.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli_w

from sottovoce.canonical import digest
from sottovoce.errors import ConfigurationError, OtherVersion
from sottovoce.federation.identity import PUBLIC_KEY_BYTES
from sottovoce.files import write_text
from sottovoce.protocol.topology import least_honest, majority
from sottovoce.run.configuration import RunConfiguration, Trust

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
NEW_AGREEMENT = (
    "Each label sends a new enrolment (sottovoce label enrol FEDERATION); then the coordinator enrols them again "
    "and signs anew, and each label joins the new agreement."
)
"""Hint for replacing an agreement of an earlier version."""
LEAST_PARTICIPANTS = 3
MOST_LABELS = 10_000


@dataclass(frozen=True)
class Member:
    """A label as the federation knows it: name and pinned Ed25519 identity key (32 bytes)."""

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
    """The rules of a federation; every announcement and every release names its digest.

    Args:
        federation: the federation's name.
        coordinator_key: the coordinator's Ed25519 key (32 bytes), which signs releases.
        members: every label that may take part, with its pinned key, sorted by name.
        n_min: smallest number of labels in a sum: survivors of a round, not participants. 0 means more than half of the
            labels.
        cross_check: whether survivors sign the survivor set before any share is released.
        noise: whether each label adds its own noise (local) or all labels add one noise together (distributed).
        min_honest: with distributed noise, the number of honest labels in every sum that the guarantee assumes. With
            fewer, the guarantee is weaker than stated. 1 with local noise.
    """

    federation: str
    coordinator_key: bytes
    members: tuple[Member, ...]
    n_min: int = 0
    cross_check: bool = True
    noise: Trust = Trust.LOCAL
    min_honest: int = 1

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if names != sorted(set(names)):
            raise ConfigurationError("The agreement's labels must be sorted by name, each named once.")
        if len({member.public_key for member in self.members}) != len(names):
            raise ConfigurationError("Two labels of the agreement share one identity key.")
        if self.n_min == 0:
            object.__setattr__(self, "n_min", max(LEAST_PARTICIPANTS, majority(len(names))))
        if self.n_min < LEAST_PARTICIPANTS:
            raise ConfigurationError(
                f"n_min = {self.n_min}, but a sum over fewer than {LEAST_PARTICIPANTS} labels hides nobody."
            )
        if not self.n_min <= len(names) <= MOST_LABELS:
            raise ConfigurationError(
                f"The agreement names {len(names)} labels; it needs {self.n_min} (n_min) to {MOST_LABELS}."
            )
        least = least_honest(len(names), self.n_min)
        if self.noise is Trust.LOCAL and self.min_honest != 1:
            raise ConfigurationError(
                f"min_honest = {self.min_honest} applies to distributed noise only; with local noise it is 1."
            )
        if not 1 <= self.min_honest <= least:
            raise ConfigurationError(
                f"min_honest = {self.min_honest}, but a sum of {self.n_min} or more of {len(names)} labels (n_min) "
                f"may hold only {least} honest ones besides one curious label.",
                hint="Lower min_honest, or raise n_min.",
            )

    def covers(self, config: RunConfiguration) -> bool:
        """Whether a run has no privacy, or uses the kind of noise that the federation has agreed on."""
        min_honest = config.distributed.min_honest if config.distributed else 1
        return config.trust is self.noise and min_honest == self.min_honest

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the agreement's canonical bytes (32 bytes)."""
        return digest(self)

    def key_of(self, name: str) -> bytes | None:
        """The pinned identity key of a label, or None if the label is unknown."""
        return next((member.public_key for member in self.members if member.name == name), None)

    def write(self, path: Path) -> None:
        """Write the agreement as TOML; `read` restores an equal value."""
        write_text(path, tomli_w.dumps(self.to_values()))

    @classmethod
    def read(cls, path: Path) -> "Agreement":
        """Read a `federation.toml`.

        Raises:
            ConfigurationError: it is not TOML, or a field is missing, unknown, of the wrong type or out of range.
            FileNotFoundError: there is no such file.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or numbers of thousands of digits
            raise ConfigurationError(f"The agreement {path.name} is not TOML: {error}.") from None
        return cls.from_values(values, path.name)

    def to_values(self) -> dict[str, Any]:
        """The agreement as plain TOML values; `from_values` restores an equal value."""
        return {
            "federation": self.federation,
            "coordinator_key": self.coordinator_key.hex(),
            "n_min": self.n_min,
            "cross_check": self.cross_check,
            "noise": self.noise.value,
            "min_honest": self.min_honest,
            "members": {member.name: member.public_key.hex() for member in self.members},
        }

    @classmethod
    def from_values(cls, values: dict[str, Any], name: str) -> "Agreement":
        """Read an agreement from plain TOML values.

        Args:
            values: all fields.
            name: the file's name, for messages.

        Raises:
            OtherVersion: it was made by an earlier version.
            ConfigurationError: a field is missing, unknown, of the wrong type or out of range.
        """
        if "honest" in values:  # the name of min_honest before agreements held enrolments
            raise OtherVersion(f"The agreement {name} was made by an earlier version.", hint=NEW_AGREEMENT)
        expected = {
            "federation": str,
            "coordinator_key": str,
            "n_min": int,
            "cross_check": bool,
            "noise": str,
            "min_honest": int,
            "members": dict,
        }
        for field in sorted(set(values) | set(expected)):
            if field not in expected:
                raise ConfigurationError(f"The agreement {name} has an unknown field '{field}'.")
            if type(values.get(field)) is not expected[field]:
                raise ConfigurationError(f"The agreement {name} needs '{field}' as {expected[field].__name__}.")
        return cls(
            federation=values["federation"],
            coordinator_key=_key(values["coordinator_key"], "coordinator_key"),
            members=tuple(Member(label, _key(key, label)) for label, key in sorted(values["members"].items())),
            n_min=values["n_min"],
            cross_check=values["cross_check"],
            noise=_trust(values["noise"], name),
            min_honest=values["min_honest"],
        )


def _trust(value: str, name: str) -> Trust:
    try:
        return Trust(value)
    except ValueError:
        raise ConfigurationError(
            f"The agreement {name} has noise = '{value}'.", hint=f"Use one of {', '.join(Trust)}."
        ) from None


def _key(value: object, name: str) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise ConfigurationError(f"The agreement's key of '{name}' is not 64 hexadecimal digits.")
    return bytes.fromhex(value)
