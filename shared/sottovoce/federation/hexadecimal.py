"""Keys, signatures and hashes as text in files."""

import re

from sottovoce.errors import ConfigurationError


def hex_bytes(text: object, where: str) -> bytes:
    """The bytes (1 to 64) of lower-case hexadecimal digits.

    Raises:
        ConfigurationError: they are none; the message says that it was in `where`.
    """
    if not isinstance(text, str) or not re.fullmatch(r"(?:[0-9a-f]{2}){1,64}", text):
        raise ConfigurationError(f"A key, signature or hash in {where} is not hexadecimal.")
    return bytes.fromhex(text)
