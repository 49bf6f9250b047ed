"""Sealing shares to their holder: ChaCha20-Poly1305 (RFC 8439) under a key of one round, sender and recipient.

The key is fresh each round. The nonce is random all the same: a label whose state was rolled back (a restored backup)
may seal twice under one key, and must not thereby give away what it sealed.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from sottovoce.protocol.violations import BadSeal

NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD = NONCE_BYTES + TAG_BYTES


def seal(key: bytes, plain: bytes, header: bytes) -> bytes:
    """`nonce ‖ ciphertext ‖ tag`, with the header as associated data; `OVERHEAD` bytes longer than the plain text."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, plain, header)


def unseal(key: bytes, box: bytes, header: bytes) -> bytes:
    """What was sealed.

    Raises:
        BadSeal: another key, another header, or another text.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], header)
    except (InvalidTag, ValueError):
        raise BadSeal("A sealed bundle does not open.") from None
