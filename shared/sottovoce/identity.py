"""Who signed what: Ed25519 identity keys, each signature bound to its purpose."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sottovoce.errors import ConfigurationError
from sottovoce.files import write_bytes

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


def _bound(purpose: str, message: bytes) -> bytes:
    return b"sottovoce/1/" + purpose.encode() + b"\x00" + message


def verify(public_key: bytes, signature: bytes, *, purpose: str, message: bytes) -> bool:
    """Whether `signature` (64 bytes) is that of `public_key` (32 bytes, raw Ed25519) over this message and purpose."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _bound(purpose, message))
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Identity:
    """A party's long-lived signing key. The private part never prints."""

    public_key: bytes
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> "Identity":
        """A new key from the operating system's entropy."""
        return cls._of(Ed25519PrivateKey.generate())

    @classmethod
    def _of(cls, private: Ed25519PrivateKey) -> "Identity":
        return cls(private.public_key().public_bytes_raw(), private)

    @classmethod
    def load(cls, path: Path) -> "Identity":
        """Read a key that `save` wrote.

        Raises:
            ConfigurationError: the file is missing, not 32 bytes, or readable by others.
        """
        try:
            mode = path.stat().st_mode
            data = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"Cannot read the identity key {path.name}: {error.strerror}.") from None
        if mode & 0o077:
            raise ConfigurationError(
                f"The identity key {path.name} can be read by others.", hint=f"chmod 600 {path.name}"
            )
        if len(data) != PUBLIC_KEY_BYTES:
            raise ConfigurationError(f"The identity key {path.name} is damaged: {len(data)} bytes instead of 32.")
        return cls._of(Ed25519PrivateKey.from_private_bytes(data))

    def save(self, path: Path) -> None:
        """Write the raw private key (32 bytes), readable by the owner only."""
        write_bytes(path, self._private.private_bytes_raw(), mode=0o600)

    def sign(self, *, purpose: str, message: bytes) -> bytes:
        """A 64-byte Ed25519 signature (RFC 8032) over the purpose and the message."""
        return self._private.sign(_bound(purpose, message))
