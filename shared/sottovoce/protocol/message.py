"""Format of all messages: `MAGIC ‖ version ‖ type ‖ fields`, and for most a signature at the end.

A field's annotation defines its encoding. A record with a `TYPE` can be sent on its own. Its version is that of the
protocol in its run, the same in all messages of the run and in those within them.
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity
from sottovoce.protocol.encoding import Bytes, Fixed, Number, Reader, Record, fields_of
from sottovoce.protocol.signatures import is_signature

MAGIC = b"SoVo"
VERSION = 3
"""Newest version of the protocol that this release speaks."""
FORMER_VERSION = 2
"""The version before it, which this release speaks too. Its messages are the same, but for the number."""
SPOKEN = (FORMER_VERSION, VERSION)
UNVERSIONED = 0
"""Version of the two messages that a run's version is chosen by: every release reads them."""
RUN_BYTES = 16
DIGEST_BYTES = 32
SECRET_BYTES = 32
TAG_BYTES = 16
ENCAPSULATION_KEY_BYTES = 1184
CIPHERTEXT_BYTES = 1088

RUN = Fixed(RUN_BYTES)
DIGEST = Fixed(DIGEST_BYTES)
KEY = Fixed(PUBLIC_KEY_BYTES)
ENCAPSULATION_KEY = Fixed(ENCAPSULATION_KEY_BYTES)
CIPHERTEXT = Fixed(CIPHERTEXT_BYTES)
SECRET = Fixed(SECRET_BYTES)
TAG = Fixed(TAG_BYTES)
SIGNATURE = Fixed(SIGNATURE_BYTES)
ROUND = Number(4, least=1)


@dataclass(frozen=True)
class Message(Record):
    """A record that is sent on its own.

    Args:
        version: the protocol's version.
    """

    TYPE: ClassVar[int]
    version: int = field(default=VERSION, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        default = type(self).version
        if self.version not in ((UNVERSIONED,) if default == UNVERSIONED else SPOKEN):
            raise LocalProtocolError(f"A {type(self).__name__} has version {self.version} of the protocol.")
        for name in fields_of(type(self)):
            value = getattr(self, name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Message) and part.version != self.version:
                    raise LocalProtocolError(f"A {type(self).__name__} holds a message of another version.")

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read every field; the version is the reader's."""
        return cls(**cls._read_fields(reader), version=reader.version)

    def encode(self) -> bytes:
        """The message's only encoding."""
        return b"".join(self._parts())

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the encoded message (32 bytes)."""
        return hashlib.sha256(self.encode()).digest()

    def _parts(self) -> list[Bytes]:
        parts: list[Bytes] = [MAGIC, bytes([self.version, self.TYPE])]
        self.write(parts)
        return parts


class Signed(Message):
    """A message whose last field is the label's signature over the SHA-256 of all bytes before it."""

    PURPOSE: ClassVar[str]
    label: Any
    signature: Any

    @cached_property
    def signed_digest(self) -> bytes:
        """SHA-256 of all bytes of the message except the signature (32 bytes)."""
        hasher = hashlib.sha256()
        for part in self._parts()[:-1]:
            hasher.update(part)
        return hasher.digest()

    @classmethod
    def sign(cls, identity: Identity, **values: Any) -> Self:
        """The message with these fields and the signature of `identity`."""
        unsigned: Any = cls(**{**values, "signature": bytes(SIGNATURE_BYTES)})
        signature = identity.sign(purpose=cls.PURPOSE, message=unsigned.signed_digest)
        signed: Self = replace(unsigned, signature=signature)
        return signed

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the signature is valid for this Ed25519 key (32 bytes)."""
        return is_signature(public_key, self.signature, self.PURPOSE, self.signed_digest)
