"""A run's X25519 key, and what is derived with it: each key bound to its purpose, round, roles and configuration."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sottovoce.protocol.prg import SEED_BYTES
from sottovoce.protocol.violations import BadKey


@dataclass(frozen=True)
class RunKey:
    """A label's key pair for one run (RFC 7748). The private part never prints."""

    public: bytes
    _private: X25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> "RunKey":
        """A new pair from the operating system's entropy."""
        return cls._of(X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, private: bytes) -> "RunKey":
        """The pair of a raw private key (32 bytes)."""
        return cls._of(X25519PrivateKey.from_private_bytes(private))

    @classmethod
    def _of(cls, private: X25519PrivateKey) -> "RunKey":
        return cls(private.public_key().public_bytes_raw(), private)

    def private_bytes(self) -> bytes:
        """The raw private key (32 bytes): for the label's own disk, and nowhere else."""
        return self._private.private_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        """The secret (32 bytes) that this key and another's public key (32 bytes) have in common.

        Raises:
            BadKey: the public key is of small order, so that the secret would be none (RFC 7748, section 6.1).
        """
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise BadKey("A participant's public key gives no secret.") from None


def derive(secret: bytes, *, purpose: str, run: bytes, context: bytes) -> bytes:
    """HKDF-SHA-256 (RFC 5869): 32 bytes from a shared secret, with the run as salt.

    Args:
        secret: what `RunKey.agree` gave.
        purpose: what the key is for; two purposes never share a key.
        run: the run (16 bytes).
        context: everything else that the key is bound to, encoded without ambiguity.
    """
    info = b"sottovoce/1/" + purpose.encode() + b"\x00" + context
    return HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=run, info=info).derive(secret)
