"""Cached verification of signatures: many labels present the same adverts every round."""

from functools import lru_cache

from sottovoce.federation.identity import verify

REMEMBERED = 1 << 15


@lru_cache(maxsize=REMEMBERED)
def is_signature(public_key: bytes, signature: bytes, purpose: str, digest: bytes) -> bool:
    """`federation.identity.verify` over a digest (32 bytes). A pure function, so results are cached."""
    return verify(public_key, signature, purpose=purpose, message=digest)
