"""Every kind of field takes its bounds, and nothing beyond them or of another type."""

from collections.abc import Callable
from typing import Any

import pytest

from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.encoding import Blob, Bytes, Choice, Field, Fixed, Many, Name, Number, Reader, Real

FIELDS: dict[str, tuple[Callable[[], Field], list[Any], list[Any]]] = {
    "fixed": (lambda: Fixed(3), [b"abc"], [b"", b"ab", b"abcd"]),
    "a byte": (lambda: Number(1), [0, 255], [-1, 256, True, 1.0, "1"]),
    "number": (lambda: Number(2, least=3, most=9), [3, 9], [2, 10, 3.0]),
    "real": (lambda: Real(least=0.0, most=2.0), [0.0, 0.5, 2.0], [-0.0, -1.0, 2.5, float("nan"), 1, True, "1"]),
    "choice": (lambda: Choice(RefusalReason), [RefusalReason.HOURS], ["hours", RefusalReason.HOURS.value, None]),
    "name": (lambda: Name(), ["blue-note"], ["", "Blue Note", "a\n", 3, None]),
    "blob": (lambda: Blob(most=3), [b"", b"abc"], [b"abcd"]),
    "any number of": (lambda: Many(Number(1), most=3), [(), (2, 2, 1)], [(1, 1, 1, 1), (256,)]),
    "sorted": (lambda: Many(Number(1), most=3, ascending=True), [(), (1, 2, 3)], [(2, 1), (1, 1), (1, 3, 2)]),
}


def written(field: Field, value: Any) -> bytes:
    parts: list[Bytes] = []
    field.write(value, parts)
    return b"".join(parts)


@pytest.mark.parametrize("kind", FIELDS)
def test_a_field_takes_its_bounds_and_gives_them_back(kind: str) -> None:
    make, good, _ = FIELDS[kind]
    field = make()
    for value in good:
        field.check(value)
        data = written(field, value)
        assert len(data) >= field.least_bytes
        reader = Reader(data)
        assert field.read(reader) == value
        reader.finish()


@pytest.mark.parametrize("kind", FIELDS)
def test_a_field_refuses_what_is_beyond_its_bounds_or_of_another_type(kind: str) -> None:
    make, _, bad = FIELDS[kind]
    for value in bad:
        with pytest.raises(ValueError):
            make().check(value)


@pytest.mark.parametrize("kind", FIELDS)
def test_a_field_that_is_cut_short_is_refused(kind: str) -> None:
    make, good, _ = FIELDS[kind]
    with pytest.raises(ValueError):
        make().read(Reader(written(make(), good[-1])[:-1]))


def test_a_length_above_the_bound_is_refused_before_anything_is_read() -> None:
    assert Blob(most=4).read(Reader(bytes([0, 0, 0, 4]) + b"abcd")) == b"abcd"
    with pytest.raises(ValueError, match="4 at most"):
        Blob(most=4).read(Reader(bytes([0, 0, 0, 5]) + b"abcde"))
    with pytest.raises(ValueError):
        Many(Number(1), most=4).read(Reader(bytes([0, 0, 0, 5]) + b"abcde"))


def test_a_blob_may_stay_where_it_lies() -> None:
    data = bytearray(b"\x00\x00\x00\x03abc")
    view, copy = Blob(view=True).read(Reader(data)), Blob().read(Reader(data))
    data[4:] = b"xyz"
    assert (bytes(view), copy) == (b"xyz", b"abc")
