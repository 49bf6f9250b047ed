"""Versioned JSON, read strictly: an error says what is wrong, in which file, and what to do."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from sottovoce.errors import ConfigurationError, OtherVersion, ProtocolError

K = TypeVar("K", bound="Versioned")
T = TypeVar("T")
_DAMAGE = (msgspec.MsgspecError, ValueError, TypeError, ProtocolError, RecursionError)


class Missing(ConfigurationError):
    """There is no such file."""


class Versioned(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of a file; subclasses add theirs. A file without a number has version 1."""

    version: int = 1


class _Number(msgspec.Struct):
    version: int = 1


@dataclass(frozen=True)
class Format(Generic[K, T]):
    """A format that can be read.

    Every method raises OtherVersion for another version, and ConfigurationError for what is damaged or unreadable.

    Args:
        kind: its fields.
        build: makes the result; a ValueError, TypeError or ProtocolError of it is damage, too.
        version: the version that can be read.
        what: description for messages: `The run's order`.
        hint: what to do about what cannot be read.
        oldest: the oldest version that can be read, if it is another one.
        most: largest size in bytes; None for any.
    """

    kind: type[K]
    build: Callable[[K], T]
    version: int
    what: str
    hint: str | None = None
    oldest: int | None = None
    most: int | None = None

    def find(self, path: Path) -> T | None:
        """Read a file; None if it does not exist."""
        try:
            return self.read(path)
        except Missing:
            return None

    def read(self, path: Path) -> T:
        """Read a file that must exist; if it does not, the error is a Missing."""
        named = replace(self, what=f"{self.what} ({path.name})")
        try:
            with path.open("rb") as file:
                data = file.read(-1 if self.most is None else self.most + 1)
        except OSError as error:
            kind = Missing if isinstance(error, FileNotFoundError) else ConfigurationError
            raise kind(f"{named.what} cannot be read: {error.strerror}.", hint=self.hint) from None
        return named.decode(data)

    def decode(self, data: bytes) -> T:
        """Read JSON."""
        try:
            if self.most is not None and len(data) > self.most:
                raise ValueError(f"it has more than {self.most:,} bytes.")
            values = msgspec.json.decode(data)
        except _DAMAGE as error:
            raise self._damaged(error) from None
        return self.convert(values)

    def convert(self, values: object) -> T:
        """Read plain values."""
        oldest = self.version if self.oldest is None else self.oldest
        try:
            found = msgspec.convert(values, _Number).version
            if not oldest <= found <= self.version:
                readable = f"version {oldest}" if oldest == self.version else f"versions {oldest} to {self.version}"
                raise OtherVersion(f"{self.what} has version {found}; this release reads {readable}.", hint=self.hint)
            return self.build(msgspec.convert(values, self.kind, str_keys=True))
        except _DAMAGE as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(f"{self.what} is damaged: {error}", hint=self.hint)
