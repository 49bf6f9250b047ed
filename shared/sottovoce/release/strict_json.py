"""Strict JSON: what a stranger's manifest is read with. One meaning, or none."""

import json
import math
from typing import Any, NoReturn, TypeVar

from sottovoce.errors import ReleaseError

Object = dict[str, Any]
T = TypeVar("T")
MOST_DIGITS = 15


def parse(data: bytes, name: str) -> Any:
    """The JSON value of a file.

    Args:
        data: UTF-8.
        name: of the file, for the message.

    Raises:
        ReleaseError: it is not JSON, names a key twice, or holds a number that is not finite or too large.
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"The release's {name} cannot be read: {error}.") from None


def _unique(pairs: list[tuple[str, Any]]) -> Object:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it names a key twice")
    return found


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("it holds a number that is not finite")
    return number


def _bounded(digits: str) -> int:
    """What fits a float and a file's size, so that no arithmetic on it can fail."""
    if len(digits) > MOST_DIGITS:
        raise ValueError("it holds a number that is too large")
    return int(digits)


class Fields:
    """The fields of one JSON object, each taken once with its type; what is missing or left over is an error.

    Args:
        value: the object.
        where: what it is, for the message: `the release's manifest`.
    """

    def __init__(self, value: Any, where: str) -> None:
        self._where = where
        if type(value) is not dict:
            raise ReleaseError(f"Expected an object in {where}.")
        self._left: Object = dict(value)

    def take(self, name: str, kind: type[T]) -> T:
        """The value of a field, which must be of exactly this type (an int will do where a float is expected)."""
        if name not in self._left:
            raise ReleaseError(f"The field '{name}' is missing in {self._where}.")
        value = self._left.pop(name)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ReleaseError(f"Expected the field '{name}' in {self._where} to be of type {kind.__name__}.")
        return value

    def take_number_or_null(self, name: str) -> float | None:
        """A field that is a number or null; it must be there all the same."""
        if self._left.get(name, 0) is None:
            return self.take(name, type(None))
        return self.take(name, float)

    def take_list(self, name: str, kind: type[T]) -> tuple[T, ...]:
        """A field that is a list, each item of exactly this type."""
        items = self.take(name, list)
        if any(type(item) is not kind for item in items):
            raise ReleaseError(f"Expected each item of '{name}' in {self._where} to be of type {kind.__name__}.")
        return tuple(items)

    def done(self) -> None:
        """Nothing may be left.

        Raises:
            ReleaseError: something is.
        """
        if self._left:
            raise ReleaseError(f"There is an unknown field '{min(self._left)}' in {self._where}.")
