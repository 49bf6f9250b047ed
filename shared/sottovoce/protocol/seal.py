"""Sealing to a label: ChaCha20-Poly1305 (RFC 8439) under a key of one round, purpose, sender and recipient.

The key is fresh each round. The nonce is taken from the commitment to the secret concerned, which is random: a label
whose state was rolled back (a restored backup) may seal twice under one key, and this must not reveal what it sealed.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sottovoce.protocol.violations import BadSeal

NONCE_BYTES = 12
OVERHEAD = 16
"""Length of the authenticator, in bytes."""


def seal(key: bytes, plain: bytes, *, commitment: bytes, header: bytes) -> bytes:
    """The ciphertext and its authenticator; header and commitment are associated data."""
    return ChaCha20Poly1305(key).encrypt(commitment[:NONCE_BYTES], plain, header + commitment)


def unseal(key: bytes, sealed: bytes, *, commitment: bytes, header: bytes) -> bytes:
    """The plaintext of a sealed message.

    Raises:
        BadSeal: key, header, commitment or ciphertext differ from those of sealing.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(commitment[:NONCE_BYTES], sealed, header + commitment)
    except (InvalidTag, ValueError):
        raise BadSeal("A sealed message does not open.") from None
