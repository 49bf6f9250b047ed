"""Keys, signatures and hashes as text in files."""

import re

from sottovoce.errors import ConfigurationError


def hex_bytes(text: object, where: str) -> bytes:
    """The bytes (1 to 64) that lower-case hexadecimal digits encode.

    Raises:
        ConfigurationError: the text is anything else; the message names `where` it was found.
    """
    if not isinstance(text, str) or not re.fullmatch(r"(?:[0-9a-f]{2}){1,64}", text):
        raise ConfigurationError(f"A key, signature or hash in {where} is not hexadecimal.")
    return bytes.fromhex(text)
