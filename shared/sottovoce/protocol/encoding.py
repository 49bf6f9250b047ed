"""Encoding of values as bytes: strict, length-checked, with exactly one encoding for each value.

Annotations of a record's fields define their encoding; numbers are big-endian, lengths come first, nothing is optional
or padded. Decoding never allocates more than the bytes it was given.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import Any, Protocol, Self, get_type_hints

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.agreement import NAME

Bytes = bytes | memoryview


class Reader:
    """Consumes bytes from the front of a message; the views that it returns share the message's memory.

    Args:
        data: the bytes.
    """

    version: int
    """The protocol's version, for messages within; set once it has been read."""

    def __init__(self, data: Bytes) -> None:
        self._rest = memoryview(data).toreadonly()

    def take(self, size: int) -> memoryview:
        """The next `size` bytes.

        Raises:
            ValueError: fewer are left.
        """
        if size > len(self._rest):
            raise ValueError(f"{size} bytes expected, {len(self._rest)} left")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def number(self, width: int) -> int:
        """The next `width` bytes as an unsigned number."""
        return int.from_bytes(self.take(width))

    @property
    def left(self) -> int:
        """Number of bytes not yet taken."""
        return len(self._rest)

    def finish(self) -> None:
        """Expect the end of the bytes.

        Raises:
            ValueError: bytes are left.
        """
        if self.left:
            raise ValueError(f"{self.left} bytes too many")


class Field(Protocol):
    """How one field is checked, written and read. `check` and `read` raise ValueError."""

    @property
    def least_bytes(self) -> int:
        """Smallest encoded size of a value; bounds counts before anything is read."""
        ...

    def check(self, value: Any) -> None:
        """Refuse a value that has no encoding."""
        ...

    def write(self, value: Any, parts: list[Bytes]) -> None:
        """Append the bytes of a checked value."""
        ...

    def read(self, reader: Reader) -> Any:
        """Take one value; the caller then applies `check`."""
        ...


class Fixed:
    """Exactly `size` bytes."""

    def __init__(self, size: int) -> None:
        self.least_bytes = size

    def check(self, value: Any) -> None:
        """Refuse any other length."""
        if len(value) != self.least_bytes:
            raise ValueError(f"{len(value)} bytes instead of {self.least_bytes}")

    def write(self, value: Any, parts: list[Bytes]) -> None:
        """The bytes themselves."""
        parts.append(value)

    def read(self, reader: Reader) -> bytes:
        """The bytes themselves."""
        return bytes(reader.take(self.least_bytes))


class Number:
    """A whole number from `least` to `most`, in `width` bytes."""

    def __init__(self, width: int, *, least: int = 0, most: int | None = None) -> None:
        self.least_bytes = width
        self._least = least
        self._most = 256**width - 1 if most is None else most

    def check(self, value: Any) -> None:
        """Refuse a number out of range."""
        if type(value) is not int or not self._least <= value <= self._most:
            raise ValueError(f"{value} is not in {self._least} to {self._most}")

    def write(self, value: Any, parts: list[Bytes]) -> None:
        """Big-endian, unsigned."""
        parts.append(value.to_bytes(self.least_bytes))

    def read(self, reader: Reader) -> int:
        """Big-endian, unsigned."""
        return reader.number(self.least_bytes)


class Real:
    """A number from `least` to `most` as IEEE 754 binary64. NaN and negative zero are excluded."""

    least_bytes = 8

    def __init__(self, *, least: float, most: float) -> None:
        self._least = least
        self._most = most

    def check(self, value: Any) -> None:
        """Refuse a number out of range, and values with a second encoding."""
        if type(value) is not float or not self._least <= value <= self._most or math.copysign(1.0, value) < 0:
            raise ValueError(f"{value} is not a number in {self._least} to {self._most}")

    def write(self, value: Any, parts: list[Bytes]) -> None:
        """Big-endian binary64."""
        parts.append(struct.pack(">d", value))

    def read(self, reader: Reader) -> float:
        """Big-endian binary64."""
        value: float = struct.unpack(">d", reader.take(8))[0]
        return value


class Choice:
    """A member of an enumeration of strings: the length of its value in one byte, then its value in ASCII."""

    least_bytes = 2

    def __init__(self, kind: type[StrEnum]) -> None:
        self._kind = kind

    def check(self, value: Any) -> None:
        """Refuse anything but a member."""
        if not isinstance(value, self._kind):
            raise ValueError(f"{value!r} is not a {self._kind.__name__}")

    def write(self, value: Any, parts: list[Bytes]) -> None:
        """Length, then ASCII."""
        _write_short(value.value, parts)

    def read(self, reader: Reader) -> StrEnum:
        """Length, then ASCII."""
        return self._kind(_read_short(reader))


class Name:
    """A label's name (`sottovoce.federation.agreement.NAME`): its length in one byte, then ASCII."""

    least_bytes = 2

    def check(self, value: Any) -> None:
        """Refuse an invalid label name."""
        if not isinstance(value, str) or not NAME.fullmatch(value):
            raise ValueError("not a label's name")

    def write(self, value: Any, parts: list[Bytes]) -> None:
        """Length, then ASCII."""
        _write_short(value, parts)

    def read(self, reader: Reader) -> str:
        """Length, then ASCII."""
        return _read_short(reader)


def _write_short(text: str, parts: list[Bytes]) -> None:
    data = text.encode("ascii")
    parts += [bytes([len(data)]), data]


def _read_short(reader: Reader) -> str:
    return bytes(reader.take(reader.number(1))).decode("ascii")


class Blob:
    """Up to `most` bytes after a four-byte length; `view` keeps a large one in place, without a copy."""

    least_bytes = 4

    def __init__(self, *, most: int = 2**32 - 1, view: bool = False) -> None:
        self._most = most
        self._view = view

    def check(self, value: Any) -> None:
        """Refuse more bytes than allowed."""
        if len(value) > self._most:
            raise ValueError(f"{len(value)} bytes, but {self._most} at most")

    def write(self, value: Any, parts: list[Bytes]) -> None:
        """Length, then the bytes."""
        parts += [len(value).to_bytes(4), value]

    def read(self, reader: Reader) -> Bytes:
        """Length, then the bytes."""
        size = reader.number(4)
        if size > self._most:
            raise ValueError(f"{size} bytes, but {self._most} at most")
        taken = reader.take(size)
        return taken if self._view else bytes(taken)


class Many:
    """Up to `most` values of one kind after a four-byte count; `ascending` values are sorted and distinct."""

    least_bytes = 4

    def __init__(self, item: Field, *, most: int, ascending: bool = False) -> None:
        self._item = item
        self._most = most
        self._ascending = ascending

    def check(self, value: Sequence[Any]) -> None:
        """Refuse too many, an item that has no encoding, and items out of order."""
        if len(value) > self._most:
            raise ValueError(f"{len(value)} items, but {self._most} at most")
        for item in value:
            self._item.check(item)
        if self._ascending and any(left >= right for left, right in pairwise(value)):
            raise ValueError("items are not in ascending order, each once")

    def write(self, value: Any, parts: list[Bytes]) -> None:
        """Number of items, then each."""
        parts.append(len(value).to_bytes(4))
        for item in value:
            self._item.write(item, parts)

    def read(self, reader: Reader) -> tuple[Any, ...]:
        """Number of items, then each."""
        count = reader.number(4)
        if count > self._most or count * self._item.least_bytes > reader.left:
            raise ValueError(f"{count} items cannot fit")
        return tuple(self._item.read(reader) for _ in range(count))


class Record:
    """A frozen dataclass whose annotations (`Annotated[type, field]`) define its encoding; checked when constructed."""

    def __post_init__(self) -> None:
        for name, field in fields_of(type(self)).items():
            try:
                field.check(getattr(self, name))
            except (ValueError, TypeError) as error:
                raise LocalProtocolError(f"{type(self).__name__}.{name}: {error}.") from None

    def write(self, parts: list[Bytes]) -> None:
        """Append the bytes of every field, in the order of definition."""
        for name, field in fields_of(type(self)).items():
            field.write(getattr(self, name), parts)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read every field.

        Raises:
            ValueError: the bytes end too early or hold an invalid value.
            LocalProtocolError: a value is refused on construction (`messages.decode` turns both into `Malformed`).
        """
        return cls(**cls._read_fields(reader))

    @classmethod
    def _read_fields(cls, reader: Reader) -> dict[str, Any]:
        """The values of the encoded fields, by their names; raises as `read` does."""
        return {name: field.read(reader) for name, field in fields_of(cls).items()}


class Body:
    """A record inside another."""

    def __init__(self, kind: type[Record]) -> None:
        self._kind = kind
        self.least_bytes: int = sum(field.least_bytes for field in fields_of(kind).values())

    def check(self, value: Any) -> None:
        """Refuse anything but such a record, which was checked when constructed."""
        if not isinstance(value, self._kind):
            raise ValueError(f"not a {self._kind.__name__}")

    def write(self, value: Any, parts: list[Bytes]) -> None:
        """Its fields."""
        value.write(parts)

    def read(self, reader: Reader) -> Record:
        """Its fields."""
        return self._kind.read(reader)


def fields_of(kind: type[Record]) -> dict[str, Field]:
    """The encoded fields of a record, in their order."""
    key: Any = kind  # mypy rejects a class that defines __hash__ as a key
    return _fields_of(key)


@cache
def _fields_of(kind: Any) -> dict[str, Field]:
    hints = get_type_hints(kind, include_extras=True)
    encoded = (item.name for item in fields(kind) if hasattr(hints[item.name], "__metadata__"))
    return {name: hints[name].__metadata__[0] for name in encoded}
