"""A label's enrolment: its name and two public keys, handed to the coordinator once to join a federation.

The agreement carries all enrolments, so that the coordinator cannot change a member's name or key.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from sottovoce.canonical import digest
from sottovoce.errors import ConfigurationError, OtherVersion
from sottovoce.federation.agreement import NAME, Member
from sottovoce.federation.hexadecimal import hex_bytes
from sottovoce.federation.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, UNREADABLE_KEY, Identity, verify
from sottovoce.files import write_text

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
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise ConfigurationError(f"The enrolment {path.name} cannot be read: {error.strerror}.") from None
        return cls.from_bytes(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Enrolment":
        """Like `read`, from the file's content.

        Raises:
            ConfigurationError: as for `read`.
        """
        try:
            values = json.loads(data) if len(data) <= LARGEST_FILE else None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or values.get("sottovoce") != "enrolment":
            raise ConfigurationError("The file is not an enrolment.", hint=WRITES)
        if type(values.get("version")) is not int or values["version"] != VERSION:
            raise OtherVersion(
                f"The enrolment does not have format version {VERSION}; version 1 named no federation.",
                hint=WRITES,
            )
        expected = {"sottovoce", "version", "name", "identity_key", "node_key", "federation", "signature"}
        if set(values) != expected:
            raise ConfigurationError("The enrolment has missing or unknown fields.", hint=WRITES)
        if not all(isinstance(values[field], str) for field in ("name", "node_key", "federation")):
            raise ConfigurationError("The enrolment's name, node key and federation must be strings.")
        return cls(
            values["name"],
            hex_bytes(values["identity_key"], "the enrolment"),
            values["node_key"],
            values["federation"],
            hex_bytes(values["signature"], "the enrolment"),
        )


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
