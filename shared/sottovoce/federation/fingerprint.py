"""A member's fingerprint: 128 bits over its name and key, which people compare by telephone before they trust it.

As words it is BIP-39's English list: twelve words that differ in their first four letters, of which four bits are a
checksum, so that most slips of the ear are found.
"""

import hashlib
import textwrap
from functools import cache
from typing import TYPE_CHECKING

from sottovoce.canonical import canonical_json
from sottovoce.errors import ConfigurationError

if TYPE_CHECKING:
    from mnemonic import Mnemonic

FINGERPRINT_BYTES = 16
"""Length of a fingerprint, in bytes. Finding a key of one's own with another's fingerprint takes 2¹²⁸ tries."""
_GROUP = 4


def fingerprint(name: str, public_key: bytes) -> bytes:
    """The fingerprint (16 bytes) of an identity key under a name."""
    return hashlib.sha256(canonical_json({"purpose": "fingerprint", "name": name, "public_key": public_key})).digest()[
        :FINGERPRINT_BYTES
    ]


def as_words(value: bytes) -> str:
    """A fingerprint as twelve words."""
    return _list().to_mnemonic(value)


def as_hex(value: bytes) -> str:
    """A fingerprint as hexadecimal digits in groups of four."""
    return " ".join(textwrap.wrap(value.hex(), _GROUP))


def from_words(text: str) -> bytes:
    """The fingerprint that somebody read out in words, in any case and spacing.

    Raises:
        ConfigurationError: they are not twelve words of the list, or their checksum does not fit.
    """
    try:
        return bytes(_list().to_entropy(text.lower().split()))
    except (ValueError, LookupError):
        raise ConfigurationError(
            "These words are no fingerprint: one is not in the list, or they do not fit together.",
            hint="Have all twelve read out again, in order.",
        ) from None


def from_hex(text: str) -> bytes:
    """The fingerprint that somebody gave in hexadecimal digits, in any case and grouping.

    Raises:
        ConfigurationError: they are not 32 hexadecimal digits.
    """
    try:
        value = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        value = b""
    if len(value) != FINGERPRINT_BYTES:
        raise ConfigurationError(f"A fingerprint is {2 * FINGERPRINT_BYTES} hexadecimal digits.")
    return value


@cache
def _list() -> "Mnemonic":
    from mnemonic import Mnemonic

    return Mnemonic("english")
