"""A label's enrolment: its name and two public keys, handed to the coordinator once to join a federation.

The agreement carries all enrolments, so that the coordinator cannot change a member's name or key.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from sottovoce.canonical import digest
from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import NAME, Member
from sottovoce.federation.hexadecimal import hex_bytes
from sottovoce.federation.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, UNREADABLE_KEY, Identity, verify
from sottovoce.files import write_text
from sottovoce.versioned import Format, Versioned

PURPOSE = "enrolment"
VERSION = 2
LONGEST_FEDERATION = 200
LARGEST_FILE = 65_536
WRITES = "The label writes a new one with: sottovoce label enrol FEDERATION"
_KEY_LINE = re.compile(r"ecdsa-sha2-nistp384 [A-Za-z0-9+/]{20,400}={0,2}")


@dataclass(frozen=True)
class Enrolment:
    """A label's public part.

    Args:
        name: the label's name in the federation.
        identity_key: its Ed25519 public key (32 bytes), which the agreement pins.
        node_key: public key of its SuperNode as one OpenSSH line (`ecdsa-sha2-nistp384 …`), as a SuperLink reads it.
        federation: name of the federation that the label wants to join.
        signature: by the identity key over the other fields (64 bytes), which proves possession of that key.

    Raises:
        ConfigurationError: a field is invalid, or the signature does not verify.
    """

    name: str
    identity_key: bytes
    node_key: str
    federation: str
    signature: bytes

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigurationError("The enrolment's name is not a valid label name.")
        if len(self.identity_key) != PUBLIC_KEY_BYTES or len(self.signature) != SIGNATURE_BYTES:
            raise ConfigurationError("A key or the signature of the enrolment has the wrong length.")
        if not _is_node_key(self.node_key):
            raise ConfigurationError("The enrolment's node key is not an ECDSA P-384 key in OpenSSH format.")
        if not 0 < len(self.federation) <= LONGEST_FEDERATION or not self.federation.isprintable():
            raise ConfigurationError("The enrolment's federation name contains unprintable characters.")
        message = _message(self.name, self.identity_key, self.node_key, self.federation)
        if not verify(self.identity_key, self.signature, purpose=PURPOSE, message=message):
            raise ConfigurationError(f"The enrolment of '{self.name}' is not signed by the identity key that it names.")

    @property
    def member(self) -> Member:
        """The label as an agreement lists it."""
        return Member(self.name, self.identity_key)

    @classmethod
    def sign(cls, identity: Identity, *, name: str, node_key: str, federation: str) -> "Enrolment":
        """The signed enrolment of the label with this identity."""
        message = _message(name, identity.public_key, node_key, federation)
        return cls(name, identity.public_key, node_key, federation, identity.sign(purpose=PURPOSE, message=message))

    def to_json(self) -> dict[str, Any]:
        """Plain values, as in `enrolment.json`."""
        return {
            "sottovoce": "enrolment",
            "version": VERSION,
            "name": self.name,
            "identity_key": self.identity_key.hex(),
            "node_key": self.node_key,
            "federation": self.federation,
            "signature": self.signature.hex(),
        }

    def write(self, path: Path) -> None:
        """Write `enrolment.json`."""
        write_text(path, json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Enrolment":
        """Read another label's `enrolment.json`.

        Raises:
            ConfigurationError: it cannot be read, is not an enrolment, or is not signed by the key that it names.
        """
        return _FORMAT.read(path)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Enrolment":
        """Like `read`, from the file's content.

        Raises:
            ConfigurationError: as for `read`.
        """
        return _FORMAT.decode(data)


class _Kept(Versioned):
    sottovoce: Literal["enrolment"]
    name: str
    identity_key: str
    node_key: str
    federation: str
    signature: str


def _enrolment(kept: _Kept) -> Enrolment:
    identity_key, signature = (hex_bytes(text, "the enrolment") for text in (kept.identity_key, kept.signature))
    return Enrolment(kept.name, identity_key, kept.node_key, kept.federation, signature)


_FORMAT = Format(_Kept, _enrolment, VERSION, "The enrolment", hint=WRITES, most=LARGEST_FILE)


def _message(name: str, identity_key: bytes, node_key: str, federation: str) -> bytes:
    signed = {"name": name, "identity_key": identity_key, "node_key": node_key, "federation": federation}
    return digest({"version": VERSION, **signed})


def _is_node_key(line: str) -> bool:
    if not _KEY_LINE.fullmatch(line):
        return False
    try:
        key = load_ssh_public_key(line.encode())
    except UNREADABLE_KEY:
        return False
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1)
