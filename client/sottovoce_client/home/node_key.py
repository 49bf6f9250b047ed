"""The key with which a label's SuperNode authenticates to the SuperLink, and the passphrase of the label's keys."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from sottovoce.errors import ConfigurationError
from sottovoce.federation.identity import UNREADABLE_KEY, decrypted, private_file
from sottovoce.files import write_bytes

PASSPHRASE = "SOTTOVOCE_PASSPHRASE"  # noqa: S105 - the variable's name, not its value
"""Environment variable with the passphrase of a label's keys, for unattended starts."""
_OPENSSH = b"-----BEGIN OPENSSH"


def passphrase_of_environment() -> bytes | None:
    """The passphrase from the environment, if any."""
    given = os.environ.get(PASSPHRASE)
    return given.encode() if given else None


def passphrase_of_file(path: Path) -> bytes:
    """The first line of a file that only its owner may read.

    Raises:
        ConfigurationError: it cannot be read, is readable by others, or its first line is empty.
    """
    first = private_file(path, "passphrase file").split(b"\n", 1)[0].rstrip(b"\r")
    if not first:
        raise ConfigurationError(f"The passphrase file {path.name} is empty.")
    return first


@dataclass(frozen=True)
class NodeKey:
    """The key with which a SuperNode authenticates: ECDSA on P-384, the curve of Flower's own keys."""

    _private: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> "NodeKey":
        """A new key from the operating system's entropy."""
        return cls(ec.generate_private_key(ec.SECP384R1()))

    @classmethod
    def load(cls, path: Path, *, passphrase: bytes | None = None) -> "NodeKey":
        """Read a key written by `save`.

        Raises:
            ConfigurationError: the file is missing, damaged or readable by others, or the passphrase is wrong.
        """
        data = private_file(path, "node key")
        try:
            key = load_ssh_private_key(data, None) if data.startswith(_OPENSSH) else decrypted(data, path, passphrase)
        except UNREADABLE_KEY:
            raise ConfigurationError(f"The node key {path.name} is damaged.") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"The node key {path.name} is not an ECDSA key.")
        return cls(key)

    def save(self, path: Path, *, passphrase: bytes | None = None) -> None:
        """Write the private key, readable by the owner only: OpenSSH, or encrypted PKCS #8 with a passphrase."""
        data = self.openssh()
        if passphrase:
            data = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
        write_bytes(path, data, mode=0o600)

    def openssh(self) -> bytes:
        """The private key in the format that Flower's SuperNode reads."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

    @property
    def public(self) -> str:
        """The public key in one line, `ecdsa-sha2-nistp384 …`, the format of `flwr supernode register`."""
        return self._private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
