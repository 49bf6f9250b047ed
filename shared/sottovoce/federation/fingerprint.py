"""A member's fingerprint: 128 bits over name and key, which people compare by telephone before they trust a member.

In words it is twelve entries of BIP-39's English list, which differ in their first four letters; four bits are a
checksum that catches most mishearings.
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
"""Length of a fingerprint, in bytes. Forging a key with another's fingerprint takes 2¹²⁸ tries."""
_GROUP = 4


def fingerprint(name: str, public_key: bytes) -> bytes:
    """The fingerprint (16 bytes) of a name and identity key."""
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
    """Read a fingerprint from words, in any case and spacing.

    Raises:
        ConfigurationError: the text is not twelve words of the list, or the checksum is wrong.
    """
    try:
        return bytes(_list().to_entropy(text.lower().split()))
    except (ValueError, LookupError):
        raise ConfigurationError(
            "These words are not a fingerprint: one is not in the list, or the checksum is wrong.",
            hint="Ask for all twelve again, in order.",
        ) from None


def from_hex(text: str) -> bytes:
    """Read a fingerprint from hexadecimal digits, in any case and grouping.

    Raises:
        ConfigurationError: the text is not 32 hexadecimal digits.
    """
    try:
        value = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        value = b""
    if len(value) != FINGERPRINT_BYTES:
        raise ConfigurationError(f"A fingerprint has {2 * FINGERPRINT_BYTES} hexadecimal digits.")
    return value


@cache
def _list() -> "Mnemonic":
    from mnemonic import Mnemonic

    return Mnemonic("english")
