"""Keys between two labels: agreed once per run by X25519 and ML-KEM-768 together, derived anew for each round.

Breaking one of the two is not enough. Each derived key is bound to its purpose, session, round and roles; tags and
commitments are hashes that reveal nothing about the 32 random bytes that they cover.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cache, lru_cache

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sottovoce.protocol.encoding import Bytes, Name
from sottovoce.protocol.message import SECRET_BYTES, TAG_BYTES
from sottovoce.protocol.violations import BadKey

PREFIX = b"sottovoce/2/"
_PRIME = 2**255 - 19
_X25519_BYTES = 32


@dataclass(frozen=True)
class RunKey:
    """A label's key pairs for one set-up of a run (RFC 7748, FIPS 203). The private parts are never printed."""

    public: bytes
    encapsulation: bytes = field(repr=False)
    _agreeing: X25519PrivateKey = field(repr=False)
    _opening: MLKEM768PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> "RunKey":
        """New pairs from the operating system's randomness."""
        return cls._of(X25519PrivateKey.generate(), MLKEM768PrivateKey.generate())

    @classmethod
    def from_bytes(cls, private: bytes) -> "RunKey":
        """Restore pairs from `private_bytes`: 32 bytes of X25519, then 64 bytes of ML-KEM seed."""
        return cls._of(
            X25519PrivateKey.from_private_bytes(private[:_X25519_BYTES]),
            MLKEM768PrivateKey.from_seed_bytes(private[_X25519_BYTES:]),
        )

    @classmethod
    def _of(cls, agreeing: X25519PrivateKey, opening: MLKEM768PrivateKey) -> "RunKey":
        return cls(agreeing.public_key().public_bytes_raw(), opening.public_key().public_bytes_raw(), agreeing, opening)

    def private_bytes(self) -> bytes:
        """Both private parts (96 bytes), for the label's own disk only."""
        return self._agreeing.private_bytes_raw() + self._opening.private_bytes_raw()

    def agree(self, public: bytes) -> bytes:
        """The X25519 secret (32 bytes) shared between this key and another's public key (32 bytes).

        Raises:
            BadKey: as for `check_public_key`.
        """
        if int.from_bytes(public, "little") >= _PRIME:
            raise BadKey("A public key is not in its canonical form.")
        try:
            return self._agreeing.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise BadKey("A public key yields no shared secret.") from None

    def open(self, ciphertext: bytes) -> bytes:
        """The ML-KEM secret (32 bytes) in a ciphertext (1,088 bytes); an altered ciphertext yields another secret."""
        return self._opening.decapsulate(ciphertext)


@cache
def _probe() -> RunKey:
    return RunKey.generate()


@lru_cache(maxsize=1 << 14)
def check_public_key(public: bytes) -> None:
    """Refuse an X25519 public key (32 bytes) that yields no secret or is not canonical.

    Raises:
        BadKey: it is not canonical (bit 255 set, or not below 2^255 - 19), so that it could pass as another key; or it
            is of small order, so that the secret would be constant (RFC 7748, section 6.1).
    """
    _probe().agree(public)


@lru_cache(maxsize=1 << 14)
def check_encapsulation_key(encapsulation_key: bytes) -> None:
    """Refuse an invalid ML-KEM-768 encapsulation key (1,184 bytes).

    Raises:
        BadKey: it fails the check of FIPS 203, section 7.2.
    """
    try:
        MLKEM768PublicKey.from_public_bytes(encapsulation_key)
    except ValueError:
        raise BadKey("An encapsulation key is invalid.") from None


def encapsulate(encapsulation_key: bytes) -> tuple[bytes, bytes]:
    """An ML-KEM-768 secret (32 bytes) for the owner of a key (1,184 bytes), and its ciphertext (1,088 bytes).

    Raises:
        BadKey: the key is invalid (FIPS 203, section 7.2).
    """
    try:
        return MLKEM768PublicKey.from_public_bytes(encapsulation_key).encapsulate()
    except ValueError:
        raise BadKey("An encapsulation key is invalid.") from None


def derive(secret: bytes, *, purpose: str, session: bytes, context: bytes = b"") -> bytes:
    """HKDF-SHA-256 (RFC 5869): 32 bytes from a secret, with the session's digest as salt.

    Args:
        secret: 32 bytes or more, known to nobody else.
        purpose: use of the key; two purposes never share a key.
        session: digest of the set-up (32 bytes).
        context: everything else that the key is bound to, unambiguously encoded.
    """
    info = PREFIX + purpose.encode() + b"\x00" + context
    return HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=session, info=info).derive(secret)


def names(*labels: str) -> bytes:
    """Labels, each preceded by its length."""
    parts: list[Bytes] = []
    for label in labels:
        Name().write(label, parts)
    return b"".join(parts)


def pair_secret(agreed: bytes, encapsulated: bytes, ciphertext: bytes, *, labels: set[str], session: bytes) -> bytes:
    """The secret of two labels for a whole run: 32 bytes, from both key agreements."""
    context = names(*sorted(labels)) + hashlib.sha256(ciphertext).digest()
    return derive(agreed + encapsulated, purpose="pair", session=session, context=context)


def _hash(purpose: str, data: bytes) -> bytes:
    return hashlib.sha256(PREFIX + purpose.encode() + b"\x00" + data).digest()


def nonce_commitment(nonce: bytes) -> bytes:
    """Commitment in an advert to the nonce (32 random bytes) that its label reveals later."""
    return _hash("nonce", nonce)


def secret_commitment(secret: bytes) -> bytes:
    """Commitment to a secret (32 random bytes) that a label shares among the holders."""
    return _hash("secret", secret)


def key_tag(key: bytes) -> bytes:
    """16 bytes that identify a sealing key."""
    return _hash("key-tag", key)[:TAG_BYTES]


def share_tag(share: bytes) -> bytes:
    """16 bytes that identify a share."""
    return _hash("share-tag", share)[:TAG_BYTES]


def pair_tag(key: bytes) -> bytes:
    """16 bytes with which both labels of a pair identify their key of one round."""
    return _hash("pair-tag", key)[:TAG_BYTES]
