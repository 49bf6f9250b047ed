"""Versioned files of JSON: what cannot be read is named, with the file and the way out."""

import json
from dataclasses import replace

import pytest

from sottovoce.errors import ConfigurationError, OtherVersion
from sottovoce.versioned import Format, Missing, Versioned


class Kept(Versioned):
    names: dict[str, int]


LIST = Format(Kept, lambda kept: dict(kept.names), 1, "The list", hint="Restore it.")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "list.json"


@pytest.mark.parametrize("values", [{"names": {"a": 1}}, {"names": {"a": 1}, "version": 1}])
def test_a_file_is_read_and_one_without_a_number_is_the_first(file, values):
    assert LIST.find(file) is None
    file.write_text(json.dumps(values))
    assert LIST.find(file) == {"a": 1}


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
        LIST.find(file)
    assert caught.value.hint == "Restore it."
    assert not isinstance(caught.value, OtherVersion)


def test_another_version_is_said_before_anything_else_is_read(file):
    file.write_text(json.dumps({"version": 2, "names": "of another form"}))
    with pytest.raises(OtherVersion, match=r"\(list.json\) has version 2; this release reads version 1") as caught:
        LIST.find(file)
    assert caught.value.hint == "Restore it."


def test_what_its_values_do_not_allow_is_damage_too(file):
    file.write_text(json.dumps({"names": {}}))
    with pytest.raises(ConfigurationError, match="is damaged: nobody is named"):
        Format(Kept, refuse, 1, "The list").read(file)


def refuse(kept):
    raise ValueError("nobody is named")


def test_one_that_cannot_be_opened_is_named(file):
    file.mkdir()
    with pytest.raises(ConfigurationError, match=r"The list \(list.json\) cannot be read: Is a directory"):
        LIST.find(file)


def test_one_that_must_exist_is_named(file):
    with pytest.raises(Missing, match=r"The list \(list.json\) cannot be read: No such file") as caught:
        LIST.read(file)
    assert caught.value.hint == "Restore it."


def test_a_file_that_is_too_large_is_not_read_to_its_end(file):
    data = json.dumps({"names": {"a": 1}})
    file.write_text(data)
    assert replace(LIST, most=len(data)).find(file) == {"a": 1}
    with pytest.raises(ConfigurationError, match=f"it has more than {len(data) - 1} bytes"):
        replace(LIST, most=len(data) - 1).find(file)


def test_several_versions_are_read_if_a_format_says_so(file):
    several = replace(LIST, version=3, oldest=2)
    for version in (2, 3):
        assert several.convert({"version": version, "names": {}}) == {}
    for version in (1, 4):
        with pytest.raises(OtherVersion, match=f"has version {version}; this release reads versions 2 to 3"):
            several.convert({"version": version, "names": {}})
