"""The coordinator's key that a consumer trusts, as given on the command line."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sottovoce.errors import ConfigurationError

if TYPE_CHECKING:
    from sottovoce.federation.agreement import Agreement
    from sottovoce.federation.log import Evidence

KEY = re.compile(r"[0-9a-fA-F]{64}")
LARGEST_KEY_FILE = 1 << 22
"""Largest size of a key file, in bytes."""


def trusted_key(key: str | None) -> bytes | None:
    """The key (32 bytes) that the option gives, or None without the option.

    Raises:
        ConfigurationError: the option is not a usable key.
    """
    if key is None:
        return None
    if KEY.fullmatch(key):
        return bytes.fromhex(key)
    path = Path(key)
    if not path.is_file():
        raise ConfigurationError(
            f"{key!a} is neither a key nor a file with one.",
            hint="A key is 64 hexadecimal digits. Ask the coordinator for theirs: the release itself cannot prove it.",
        )
    if path.suffix == ".toml":
        from sottovoce.federation.invitation import read_agreement

        return read_agreement(path).coordinator_key
    with path.open("rb") as file:
        text = file.read(LARGEST_KEY_FILE).decode(errors="replace").strip()
    if not KEY.fullmatch(text):
        raise ConfigurationError(
            f"The file {key!a} does not contain a key.",
            hint="It must contain 64 hexadecimal digits (a public key, never a private one), "
            "or be the federation's agreement, whose name ends in .toml.",
        )
    return bytes.fromhex(text)


def trusted_agreement(key: str | None) -> "Agreement | None":
    """The agreement that the option names, whose members alone may co-sign; None if it gives a key or nothing.

    Raises:
        ConfigurationError: it cannot be read or verified.
    """
    if key is None or Path(key).suffix != ".toml" or not Path(key).is_file():
        return None
    from sottovoce.federation.invitation import read_agreement

    return read_agreement(Path(key))


def trusted_log(key: str | None) -> "Evidence | None":
    """The coordinator's log as the signed agreement that an option names shows it; None where it names another thing.

    Raises:
        ConfigurationError: it cannot be read or verified.
    """
    if key is None or Path(key).suffix != ".toml" or not Path(key).is_file():
        return None
    from sottovoce.federation.invitation import Invitation, is_signed

    return Invitation.read(Path(key)).evidence if is_signed(Path(key)) else None
