"""Versioned files of JSON, read strictly: an error says what is wrong, in which file, and what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from sottovoce.errors import ConfigurationError, OtherVersion, ProtocolError

K = TypeVar("K", bound="Versioned")
T = TypeVar("T")


class Versioned(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of a file; subclasses add theirs. A file without a number has version 1."""

    version: int = 1


class _Number(msgspec.Struct):
    version: int = 1


def read(
    path: Path,
    kind: type[K],
    build: Callable[[K], T],
    *,
    version: int,
    what: str,
    hint: str | None = None,
) -> T | None:
    """Read a file; None if it does not exist.

    Args:
        path: the file.
        kind: its fields.
        build: makes the result; a ValueError, TypeError or ProtocolError of it is damage, too.
        version: the version that can be read.
        what: description of the file for messages: `The run's order`.
        hint: what to do about a file that cannot be read.

    Raises:
        OtherVersion: it has another version.
        ConfigurationError: it is damaged, or cannot be read.
    """
    try:
        data = path.read_bytes()
        found = msgspec.json.decode(data, type=_Number).version
        if found != version:
            raise OtherVersion(
                f"{what} ({path.name}) has version {found}; this release reads version {version}.", hint=hint
            )
        return build(msgspec.json.decode(data, type=kind))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{what} ({path.name}) cannot be read: {error.strerror}.", hint=hint) from None
    except (msgspec.MsgspecError, ValueError, TypeError, ProtocolError, RecursionError) as error:
        raise ConfigurationError(f"{what} ({path.name}) is damaged: {error}", hint=hint) from None
