"""Counter-signatures: a label states that it has compared another's fingerprint with that label's people.

They make the agreement's names and keys something that labels know, and not something that the coordinator says.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sottovoce.canonical import digest
from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import NAME, Agreement, Member
from sottovoce.federation.hexadecimal import hex_bytes
from sottovoce.federation.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from sottovoce.files import write_bytes

PURPOSE = "confirmation"
VERSION = 1
LARGEST_FILE = 16_000_000
_FIELDS = ("by", "by_key", "name", "public_key", "signature")
LEAST_VOUCHERS = 2
"""Smallest number of members that can confirm another one for us: a single one could invent as many as it liked."""


@dataclass(frozen=True)
class Confirmation:
    """One label's word for another's name and key.

    Args:
        federation: for which it is given, by name.
        by: the label that has compared.
        by_key: its identity key (32 bytes).
        name: the label that was compared.
        public_key: that label's identity key (32 bytes).
        signature: by `by_key` over the others (64 bytes).

    Raises:
        ConfigurationError: a field cannot be what it says, or the signature is not the key's.
    """

    federation: str
    by: str
    by_key: bytes
    name: str
    public_key: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.by) or not NAME.fullmatch(self.name):
            raise ConfigurationError("A confirmation names what cannot be a label's name.")
        if len(self.by_key) != PUBLIC_KEY_BYTES or len(self.public_key) != PUBLIC_KEY_BYTES:
            raise ConfigurationError("A key in a confirmation has the wrong length.")
        message = _message(self.federation, self.by, self.by_key, self.name, self.public_key)
        if len(self.signature) != SIGNATURE_BYTES or not verify(
            self.by_key, self.signature, purpose=PURPOSE, message=message
        ):
            raise ConfigurationError(f"A confirmation of '{self.name}' is not signed by '{self.by}', who is said to.")

    @classmethod
    def sign(cls, identity: Identity, *, federation: str, by: str, member: Member) -> "Confirmation":
        """The word of the label that holds this identity."""
        message = _message(federation, by, identity.public_key, member.name, member.public_key)
        signature = identity.sign(purpose=PURPOSE, message=message)
        return cls(federation, by, identity.public_key, member.name, member.public_key, signature)

    def about(self, agreement: Agreement) -> bool:
        """Whether the agreement pins both keys under these names."""
        return (
            self.federation == agreement.federation
            and agreement.key_of(self.by) == self.by_key
            and agreement.key_of(self.name) == self.public_key
        )


def confirmed_members(agreement: Agreement, name: str, given: Iterable[Confirmation]) -> dict[str, frozenset[str]]:
    """The other members that a label may count as real, each with those who say so.

    A member counts if the label has confirmed it itself, or if more than half of the members that it has confirmed
    itself have, and at least `LEAST_VOUCHERS` of them. Nobody further away counts: the chain ends there.

    Args:
        agreement: whose members count, under the keys that it pins.
        name: the label's own.
        given: counter-signatures; those of other federations, keys and names are passed over.
    """
    pinned = {member.name: member.public_key for member in agreement.members}
    by: dict[str, set[str]] = {}
    for each in given:
        known = pinned.get(each.by) == each.by_key and pinned.get(each.name) == each.public_key
        if known and each.federation == agreement.federation and each.by != each.name:
            by.setdefault(each.name, set()).add(each.by)
    own = {member for member, signers in by.items() if name in signers}
    least = max(LEAST_VOUCHERS, len(own) // 2 + 1)
    counted = {}
    for member, signers in sorted(by.items()):
        vouchers = signers & own
        if member != name and (member in own or len(vouchers) >= least):
            counted[member] = frozenset({name} if member in own else vouchers)
    return counted


def write_confirmations(path: Path, confirmations: Iterable[Confirmation], *, mode: int = 0o644) -> None:
    """Write them as JSON, which `read_confirmations` reads back."""
    listed = [
        {"federation": each.federation, **{field: _text(getattr(each, field)) for field in _FIELDS}}
        for each in confirmations
    ]
    values = {"sottovoce": "confirmations", "version": VERSION, "confirmations": listed}
    write_bytes(path, (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode(), mode=mode)


def read_confirmations(path: Path) -> tuple[Confirmation, ...]:
    """Read a file of confirmations, each of them verified.

    Raises:
        ConfigurationError: it cannot be read, is no such file, or a signature does not hold.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        values = json.loads(data) if len(data) <= LARGEST_FILE else None
    except OSError as error:
        raise ConfigurationError(f"The confirmations {path.name} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        values = None
    expected = {"sottovoce", "version", "confirmations"}
    if not isinstance(values, dict) or set(values) != expected or values["sottovoce"] != "confirmations":
        raise ConfigurationError(
            f"The file {path.name} holds no confirmations.", hint="sottovoce label confirmations --out FILE writes it."
        )
    if values["version"] != VERSION or isinstance(values["version"], bool):
        raise ConfigurationError(f"The confirmations {path.name} are of another version than {VERSION}.")
    if not isinstance(values["confirmations"], list):
        raise ConfigurationError(f"The confirmations {path.name} are damaged.")
    return tuple(_confirmation(each, path.name) for each in values["confirmations"])


def merged(*parts: Iterable[Confirmation]) -> tuple[Confirmation, ...]:
    """All of them, each pair of labels and keys once, in order of their names."""
    found = {
        (each.federation, each.by, each.by_key, each.name, each.public_key): each for part in parts for each in part
    }
    return tuple(found[key] for key in sorted(found))


def _confirmation(value: object, file: str) -> Confirmation:
    if not isinstance(value, dict) or set(value) != {"federation", *_FIELDS}:
        raise ConfigurationError(f"The confirmations {file} are damaged.")
    if not all(isinstance(part, str) for part in value.values()):
        raise ConfigurationError(f"The confirmations {file} hold something that is not text.")
    keys = {field: hex_bytes(value[field], file) for field in ("by_key", "public_key", "signature")}
    return Confirmation(
        value["federation"], value["by"], keys["by_key"], value["name"], keys["public_key"], keys["signature"]
    )


def _text(value: str | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else value


def _message(federation: str, by: str, by_key: bytes, name: str, public_key: bytes) -> bytes:
    signed: dict[str, Any] = {"federation": federation, "by": by, "by_key": by_key}
    return digest({"version": VERSION, **signed, "name": name, "public_key": public_key})
