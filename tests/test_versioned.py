"""Versioned files of JSON: what cannot be read is named, with the file and the way out."""

import json

import pytest

from sottovoce.errors import ConfigurationError, OtherVersion
from sottovoce.versioned import Versioned, read


class Kept(Versioned):
    names: dict[str, int]


def reading(path):
    return read(path, Kept, lambda kept: dict(kept.names), version=1, what="The list", hint="Restore it.")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "list.json"


@pytest.mark.parametrize("values", [{"names": {"a": 1}}, {"names": {"a": 1}, "version": 1}])
def test_a_file_is_read_and_one_without_a_number_is_the_first(file, values):
    assert reading(file) is None
    file.write_text(json.dumps(values))
    assert reading(file) == {"a": 1}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "truncated"),
        (b"\xff", "malformed"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"version":1}', "missing required field `names`"),
        (b'{"version":"1","names":{}}', r"Expected `int`, got `str` - at `\$.version`"),
        (b'{"version":1,"names":{"a":1.5}}', r"Expected `int`, got `float` - at `\$.names\[...\]`"),
        (b'{"version":1,"names":{},"more":1}', "unknown field `more`"),
        (b'{"version":1,"names":' + b"[" * 100_000, "."),
    ],
)
def test_a_damaged_one_says_where(file, data, why):
    file.write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"The list \(list.json\) is damaged: .*" + why) as caught:
        reading(file)
    assert caught.value.hint == "Restore it."
    assert not isinstance(caught.value, OtherVersion)


def test_another_version_is_said_before_anything_else_is_read(file):
    file.write_text(json.dumps({"version": 2, "names": "of another form"}))
    with pytest.raises(OtherVersion, match=r"\(list.json\) has version 2; this release reads version 1") as caught:
        reading(file)
    assert caught.value.hint == "Restore it."


def test_what_its_values_do_not_allow_is_damage_too(file):
    file.write_text(json.dumps({"names": {}}))
    with pytest.raises(ConfigurationError, match="is damaged: nobody is named"):
        read(file, Kept, refuse, version=1, what="The list")


def refuse(kept):
    raise ValueError("nobody is named")


def test_one_that_cannot_be_opened_is_named(file):
    file.mkdir()
    with pytest.raises(ConfigurationError, match=r"The list \(list.json\) cannot be read: Is a directory"):
        reading(file)
