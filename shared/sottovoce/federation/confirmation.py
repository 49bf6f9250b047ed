"""Counter-signatures: a label states that it has compared another label's fingerprint with that label's people.

With them, labels verify the agreement's names and keys instead of trusting the coordinator for them. A withdrawal
revokes a confirmation permanently: it overrides every confirmation of the same key by the same label, even if that is
submitted again.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import msgspec

from sottovoce.canonical import digest
from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import NAME, Agreement, Member
from sottovoce.federation.hexadecimal import hex_bytes
from sottovoce.federation.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from sottovoce.files import write_bytes
from sottovoce.versioned import Format, Versioned

VERSION = 1
"""Version of what is signed."""
FILE_VERSION = 2
"""Version of the file. Version 1 has no withdrawals, and can still be read."""
LARGEST_FILE = 64_000_000
"""Largest file in bytes: enough for the confirmations in an agreement's file (a third of `invitation.LARGEST_FILE`)."""
_FIELDS = ("by", "by_key", "name", "public_key", "signature")
LEAST_VOUCHERS = 2
"""Smallest number of members that can confirm another on our behalf: a single one could invent any number."""


@dataclass(frozen=True)
class Confirmation:
    """One label's signed statement that another's name and key are real.

    Args:
        federation: name of the federation.
        by: the label that compared fingerprints.
        by_key: its identity key (32 bytes).
        name: the label that was compared.
        public_key: that label's identity key (32 bytes).
        signature: by `by_key` over the other fields (64 bytes).

    Raises:
        ConfigurationError: a field is invalid, or the signature does not verify.
    """

    PURPOSE: ClassVar = "confirmation"

    federation: str
    by: str
    by_key: bytes
    name: str
    public_key: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.by) or not NAME.fullmatch(self.name):
            raise ConfigurationError("A confirmation contains an invalid label name.")
        if len(self.by_key) != PUBLIC_KEY_BYTES or len(self.public_key) != PUBLIC_KEY_BYTES:
            raise ConfigurationError("A key in a confirmation has the wrong length.")
        message = _message(self.federation, self.by, self.by_key, self.name, self.public_key)
        if len(self.signature) != SIGNATURE_BYTES or not verify(
            self.by_key, self.signature, purpose=self.PURPOSE, message=message
        ):
            raise ConfigurationError(
                f"A {self.PURPOSE} of '{self.name}' is not signed by '{self.by}', although it names that label."
            )

    @classmethod
    def sign(cls, identity: Identity, *, federation: str, by: str, member: Member) -> Self:
        """The statement about `member`, signed by the label with this identity."""
        message = _message(federation, by, identity.public_key, member.name, member.public_key)
        signature = identity.sign(purpose=cls.PURPOSE, message=message)
        return cls(federation, by, identity.public_key, member.name, member.public_key, signature)

    @property
    def subject(self) -> tuple[str, str, bytes, str, bytes]:
        """Signer and subject; a withdrawal has the same as the confirmation that it withdraws."""
        return self.federation, self.by, self.by_key, self.name, self.public_key

    def about(self, agreement: Agreement) -> bool:
        """Whether the agreement pins both keys under these names."""
        return (
            self.federation == agreement.federation
            and agreement.key_of(self.by) == self.by_key
            and agreement.key_of(self.name) == self.public_key
        )


class Withdrawal(Confirmation):
    """A label withdraws its confirmation of another's key: the key was wrong or stolen, or the label does not exist."""

    PURPOSE: ClassVar = "withdrawal"


def standing(given: Iterable[Confirmation]) -> tuple[Confirmation, ...]:
    """The confirmations that their signers have not withdrawn."""
    everything = tuple(given)
    gone = {each.subject for each in everything if isinstance(each, Withdrawal)}
    return tuple(each for each in everything if not isinstance(each, Withdrawal) and each.subject not in gone)


def confirmed_members(agreement: Agreement, name: str, given: Iterable[Confirmation]) -> dict[str, frozenset[str]]:
    """The other members that a label may accept as real, each with the members that confirmed it.

    A member is accepted if the label has confirmed it itself, or if more than half of all labels that it confirmed
    itself have done so, and at least `LEAST_VOUCHERS` of them. Former members count in that half: otherwise the author
    of the agreement could leave out all but the few that vouch for an invented label. Longer chains do not count.
    Nobody can vouch for a member whose confirmation the label has withdrawn.

    Args:
        agreement: whose members, under the keys that it pins, are considered.
        name: the label's own name.
        given: counter-signatures and withdrawals; those for other federations are ignored.
    """
    pinned = {member.name: member.public_key for member in agreement.members}
    everything = tuple(given)
    mine = [each for each in everything if (each.federation, each.by, each.by_key) == _self(agreement, name)]
    withdrawn = {(each.name, each.public_key) for each in mine if isinstance(each, Withdrawal)}
    known_to_me = {(each.name, each.public_key) for each in standing(mine)}
    by: dict[str, set[str]] = {}
    for each in standing(everything):
        known = pinned.get(each.by) == each.by_key and pinned.get(each.name) == each.public_key
        if known and each.federation == agreement.federation and each.by != each.name:
            by.setdefault(each.name, set()).add(each.by)
    own = {member for member, signers in by.items() if name in signers}
    least = max(LEAST_VOUCHERS, len(known_to_me) // 2 + 1)
    counted = {}
    for member, signers in sorted(by.items()):
        vouchers = signers & own
        if (member, pinned[member]) in withdrawn or member == name:
            continue
        if member in own or len(vouchers) >= least:
            counted[member] = frozenset({name} if member in own else vouchers)
    return counted


def write_confirmations(path: Path, given: Iterable[Confirmation], *, mode: int = 0o644) -> None:
    """Write confirmations and withdrawals as JSON, for `read_confirmations`.

    Raises:
        ConfigurationError: there are too many for a file; nothing is written.
    """
    listed: dict[str, list[dict[str, str]]] = {"confirmations": [], "withdrawals": []}
    for each in given:
        values = {"federation": each.federation, **{field: _text(getattr(each, field)) for field in _FIELDS}}
        listed["withdrawals" if isinstance(each, Withdrawal) else "confirmations"].append(values)
    whole = {"sottovoce": "confirmations", "version": FILE_VERSION, **listed}
    data = (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode()
    if len(data) > LARGEST_FILE:
        raise ConfigurationError("There are too many confirmations for one file.")
    write_bytes(path, data, mode=mode)


def read_confirmations(path: Path) -> tuple[Confirmation, ...]:
    """Read and verify a file of confirmations and withdrawals.

    Raises:
        ConfigurationError: it cannot be read, has another format, or a signature does not verify.
    """
    return _FORMAT.read(path)


def merged(*parts: Iterable[Confirmation]) -> tuple[Confirmation, ...]:
    """All confirmations and withdrawals, without duplicates, sorted by names; a withdrawal follows its confirmation."""
    found = {(*each.subject, isinstance(each, Withdrawal)): each for part in parts for each in part}
    return tuple(found[key] for key in sorted(found))


def _self(agreement: Agreement, name: str) -> tuple[str, str, bytes | None]:
    return agreement.federation, name, agreement.key_of(name)


class _KeptStatement(msgspec.Struct, forbid_unknown_fields=True):
    federation: str
    by: str
    by_key: str
    name: str
    public_key: str
    signature: str


class _Kept(Versioned):
    sottovoce: Literal["confirmations"]
    confirmations: tuple[_KeptStatement, ...]
    withdrawals: tuple[_KeptStatement, ...] = ()


def _confirmations(kept: _Kept) -> tuple[Confirmation, ...]:
    given = [_statement(each, Confirmation) for each in kept.confirmations]
    return (*given, *(_statement(each, Withdrawal) for each in kept.withdrawals))


def _statement(kept: _KeptStatement, kind: type[Confirmation]) -> Confirmation:
    keys = (hex_bytes(text, "a confirmation") for text in (kept.by_key, kept.public_key, kept.signature))
    by_key, public_key, signature = keys
    return kind(kept.federation, kept.by, by_key, kept.name, public_key, signature)


_FORMAT = Format(
    _Kept,
    _confirmations,
    FILE_VERSION,
    "The file of confirmations",
    hint="sottovoce label confirmations --out FILE writes one.",
    oldest=1,
    most=LARGEST_FILE,
)


def _text(value: str | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else value


def _message(federation: str, by: str, by_key: bytes, name: str, public_key: bytes) -> bytes:
    signed: dict[str, Any] = {"federation": federation, "by": by, "by_key": by_key}
    return digest({"version": VERSION, **signed, "name": name, "public_key": public_key})
