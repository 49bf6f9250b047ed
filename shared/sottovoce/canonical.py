"""Canonical JSON: the one byte string of a value that is hashed and signed.

JSON with keys sorted by code point, no white space, UTF-8, finite numbers only, and floats as Python prints them: the
shortest digits that read back to the same float. Close to RFC 8785 but not identical: RFC 8785 writes 8.0 as `8`,
limits whole numbers to 2⁵³ (norms in a label's ledger are larger), and sorts keys by UTF-16 code unit.
"""

import dataclasses
import hashlib
import json
from enum import Enum
from typing import Any

_READY = frozenset((str, int, float, bool, type(None)))
"""Types that JSON writes as they are; most values have one of them, and the other checks cost more."""


def _plain(value: Any) -> Any:
    if type(value) in _READY:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def canonical_json(value: Any) -> bytes:
    """The canonical bytes of a dataclass, dict, list, string, number, boolean, None or bytes (as hex), nested freely.

    Raises:
        ValueError: a number is not finite.
        TypeError: a value has no JSON form.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(value: Any) -> bytes:
    """SHA-256 over `canonical_json(value)`: 32 bytes."""
    return hashlib.sha256(canonical_json(value)).digest()
