"""Identity keys and signatures: Ed25519, each signature bound to its purpose."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from sottovoce.errors import ConfigurationError
from sottovoce.files import write_bytes

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
UNREADABLE_KEY = (ValueError, UnsupportedAlgorithm, NotImplementedError)
"""Errors that `cryptography` raises for bytes that are not a readable key; the last for a compressed point."""
_ENCRYPTED = b"-----BEGIN"
"""First bytes of an encrypted key (PEM); an unencrypted one is 32 raw bytes."""


def _bound(purpose: str, message: bytes) -> bytes:
    return b"sottovoce/1/" + purpose.encode() + b"\x00" + message


def verify(public_key: bytes, signature: bytes, *, purpose: str, message: bytes) -> bool:
    """Whether `signature` (64 bytes) by `public_key` (32 bytes, raw Ed25519) over message and purpose is valid."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _bound(purpose, message))
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Identity:
    """A party's long-lived signing key. The private part is never printed."""

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
    def load(cls, path: Path, *, passphrase: bytes | None = None) -> "Identity":
        """Read a key written by `save`.

        Args:
            path: the file.
            passphrase: passphrase of an encrypted key; ignored otherwise.

        Raises:
            ConfigurationError: the file is missing, damaged or readable by others, or the passphrase is wrong.
        """
        data = private_file(path, "identity key")
        if data.startswith(_ENCRYPTED):
            key = decrypted(data, path, passphrase)
            if not isinstance(key, Ed25519PrivateKey):
                raise ConfigurationError(f"The identity key {path.name} is not an Ed25519 key.")
            return cls._of(key)
        if len(data) != PUBLIC_KEY_BYTES:
            raise ConfigurationError(f"The identity key {path.name} is damaged: {len(data)} bytes instead of 32.")
        return cls._of(Ed25519PrivateKey.from_private_bytes(data))

    def save(self, path: Path, *, passphrase: bytes | None = None) -> None:
        """Write the private key, readable by the owner only: 32 raw bytes, or encrypted PKCS #8 with a passphrase."""
        data = self._private.private_bytes_raw()
        if passphrase:
            data = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
        write_bytes(path, data, mode=0o600)

    def sign(self, *, purpose: str, message: bytes) -> bytes:
        """A 64-byte Ed25519 signature (RFC 8032) over the purpose and the message."""
        return self._private.sign(_bound(purpose, message))


def private_file(path: Path, what: str) -> bytes:
    """The content of a file that only its owner can read.

    Raises:
        ConfigurationError: it cannot be read, or others can read it.
    """
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"Cannot read the {what} {path.name}: {error.strerror}.") from None
    if mode & (0o007 if _credential(path) else 0o077):
        raise ConfigurationError(f"The {what} {path.name} can be read by others.", hint=f"chmod 600 {path.name}")
    return data


def _credential(path: Path) -> bool:
    """Whether systemd provides a file to this service; its access list appears as group permissions in the mode."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and path.absolute().parent == Path(folder)


def decrypted(data: bytes, path: Path, passphrase: bytes | None) -> object:
    """The private key from an encrypted PEM file.

    Raises:
        ConfigurationError: the passphrase is missing or wrong, or the file is damaged.
    """
    if not passphrase:
        raise ConfigurationError(f"The key {path.name} needs a passphrase.")
    try:
        return load_pem_private_key(data, passphrase)
    except (TypeError, *UNREADABLE_KEY):
        raise ConfigurationError(
            f"The key {path.name} cannot be decrypted: the passphrase is wrong, or the file is damaged."
        ) from None
