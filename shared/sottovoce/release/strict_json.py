"""Strict, unambiguous JSON for manifests from untrusted sources."""

import json
import math
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn, TypeVar

import msgspec

from sottovoce.errors import ReleaseError

Object = dict[str, Any]
T = TypeVar("T")
MOST_DIGITS = 15


def parse(data: bytes, name: str) -> Any:
    """The JSON value of a file.

    Args:
        data: UTF-8.
        name: the file's name, for messages.

    Raises:
        ReleaseError: it is not JSON, repeats a key, or contains a number that is not finite or too large.
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
        raise ValueError("it repeats a key")
    return found


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"it contains {constant}")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("it contains a number that is not finite")
    return number


def _bounded(digits: str) -> int:
    """A number that fits a float and a file's size, so that no arithmetic on it can fail."""
    if len(digits) > MOST_DIGITS:
        raise ValueError("it contains a number that is too large")
    return int(digits)


def convert(values: Any, kind: type[T], where: str) -> T:
    """Convert a JSON value to a dataclass (or another type that msgspec knows), without coercion beyond int to float.

    Args:
        values: the JSON value.
        kind: the type.
        where: description of the value for messages: `the release's manifest`.

    Raises:
        ReleaseError: a field is missing, even one with a default, unknown or of the wrong type.
    """
    try:
        converted = msgspec.convert(values, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ReleaseError(f"In {where}: {error}.") from None
    _expect_all_fields(values, converted, where)
    return converted


def _expect_all_fields(given: Any, value: Any, where: str) -> None:
    """Require exactly the dataclass's fields of objects at any depth; msgspec is less strict."""
    if is_dataclass(value):
        names = {field.name for field in fields(value)}
        for name in sorted(given.keys() ^ names):
            fault = f"The field '{name}' is missing" if name in names else f"There is an unknown field '{name}'"
            raise ReleaseError(f"{fault} in {where}.")
        for name in names:
            _expect_all_fields(given[name], getattr(value, name), where)
    elif isinstance(value, dict):
        for name, item in value.items():
            _expect_all_fields(given[name], item, where)
    elif isinstance(value, tuple):
        for item, other in zip(given, value, strict=True):
            _expect_all_fields(item, other, where)
