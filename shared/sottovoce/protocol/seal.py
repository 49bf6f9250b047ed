"""Sealing to a label: ChaCha20-Poly1305 (RFC 8439) under a key of one round, purpose, sender and recipient.

The key is fresh each round. The nonce is taken from the commitment to the secret that the message is about, which is
random: a label whose state was rolled back (a restored backup) may seal twice under one key, and must not thereby give
away what it sealed.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sottovoce.protocol.violations import BadSeal

NONCE_BYTES = 12
OVERHEAD = 16
"""Length of the authenticator, in bytes."""


def seal(key: bytes, plain: bytes, *, commitment: bytes, header: bytes) -> bytes:
    """The cipher text and its authenticator; header and commitment are associated data."""
    return ChaCha20Poly1305(key).encrypt(commitment[:NONCE_BYTES], plain, header + commitment)


def unseal(key: bytes, sealed: bytes, *, commitment: bytes, header: bytes) -> bytes:
    """What was sealed.

    Raises:
        BadSeal: another key, another header or commitment, or another text.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(commitment[:NONCE_BYTES], sealed, header + commitment)
    except (InvalidTag, ValueError):
        raise BadSeal("What was sealed does not open.") from None
