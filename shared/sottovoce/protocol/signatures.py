"""Verifying signatures, each only once a process: a hundred labels show each other the same adverts every round."""

from functools import lru_cache

from sottovoce.federation.identity import verify

REMEMBERED = 1 << 15


@lru_cache(maxsize=REMEMBERED)
def is_signature(public_key: bytes, signature: bytes, purpose: str, digest: bytes) -> bool:
    """`federation.identity.verify` over a digest (32 bytes). It depends on the arguments alone, so it is kept."""
    return verify(public_key, signature, purpose=purpose, message=digest)
