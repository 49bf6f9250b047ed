"""Signatures of a manifest: `manifest.sig`, a list of Ed25519 signatures over its exact bytes."""

import hashlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum

from sottovoce.canonical import canonical_json
from sottovoce.errors import ReleaseError
from sottovoce.federation.agreement import NAME
from sottovoce.federation.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, verify
from sottovoce.release.manifest import SIGNATURE_FILE
from sottovoce.release.strict_json import convert, parse

PURPOSE = "release"
WHERE = f"the release's {SIGNATURE_FILE}"


class Role(StrEnum):
    """Role in which somebody signs."""

    COORDINATOR = "coordinator"
    LABEL = "label"


@dataclass(frozen=True)
class Signature:
    """One signature. It covers role and name too, so that it cannot be passed off as somebody else's.

    Args:
        role: the coordinator publishes, labels co-sign.
        name: name of the federation or label.
        public_key: 32 bytes, as stated by the signer; an agreement or a person must confirm that it is theirs.
        signature: 64 bytes.
    """

    role: Role
    name: str
    public_key: bytes
    signature: bytes

    @classmethod
    def make(cls, identity: Identity, role: Role, name: str, manifest: bytes) -> "Signature":
        """Sign a manifest's bytes."""
        signature = identity.sign(purpose=PURPOSE, message=_message(role, name, manifest))
        return cls(role, name, identity.public_key, signature)

    def holds(self, manifest: bytes) -> bool:
        """Whether it is valid for this manifest, role and name under the stated key."""
        message = _message(self.role, self.name, manifest)
        return verify(self.public_key, self.signature, purpose=PURPOSE, message=message)


def encode(signatures: tuple[Signature, ...]) -> bytes:
    """The content of `manifest.sig`."""
    values = [
        {
            "role": each.role.value,
            "name": each.name,
            "public_key": each.public_key.hex(),
            "signature": each.signature.hex(),
        }
        for each in signatures
    ]
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def decode(data: bytes) -> tuple[Signature, ...]:
    """Read `manifest.sig`: exactly one coordinator, followed by any number of labels, each once.

    Raises:
        ReleaseError: it has any other content.
    """
    signatures = tuple(map(_signature, convert(parse(data, SIGNATURE_FILE), tuple[_Written, ...], WHERE)))
    roles = [each.role for each in signatures]
    if roles.count(Role.COORDINATOR) != 1 or roles[0] is not Role.COORDINATOR:
        raise ReleaseError(f"Expected {WHERE} to start with the coordinator's signature, and to have only one.")
    labels = [each.name for each in signatures[1:]]
    if len(set(labels)) != len(labels):
        raise ReleaseError(f"A label signs twice in {WHERE}.")
    return signatures


def _message(role: Role, name: str, manifest: bytes) -> bytes:
    return canonical_json({"role": role, "name": name, "manifest": hashlib.sha256(manifest).digest()})


@dataclass(frozen=True)
class _Written:
    """One signature as stored in the file: keys and signatures as hexadecimal digits."""

    role: Role
    name: str
    public_key: str
    signature: str


def _signature(written: _Written) -> Signature:
    if not (0 < len(written.name) <= 63 and written.name.isprintable()):
        raise ReleaseError(f"A signer's name in {WHERE} is invalid.")
    if written.role == Role.LABEL and not NAME.fullmatch(written.name):
        raise ReleaseError(f"A signer's name in {WHERE} is not a valid label name.")
    return Signature(
        written.role,
        written.name,
        _hex(written.public_key, PUBLIC_KEY_BYTES),
        _hex(written.signature, SIGNATURE_BYTES),
    )


def _hex(text: str, size: int) -> bytes:
    if not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text):
        raise ReleaseError(f"Expected {2 * size} hexadecimal digits for a key or signature in {WHERE}.")
    return bytes.fromhex(text)
