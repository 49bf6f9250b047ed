"""The page of formats names every version that the code has, every file of a home and every message."""

import ast
import re
from pathlib import Path

import pytest

from sottovoce.protocol import messages
from sottovoce.protocol.message import Message
from sottovoce.release.check import ALLOWED
from sottovoce_client.home.label_home import LabelHome
from sottovoce_server.home.coordinator_home import ServerHome

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`?(\d+|[A-Z_]+ \+ \d+)`? \(`([\w/]+\.py:[A-Z_]+)`\)")
"""A number, with the constant that it is."""
CONSTANT = re.compile(r"(?:[A-Z]+_)*(?:VERSION|SCHEMA|FORMAT)")
NUMBER = re.compile(r"\d+|[A-Z_]+ \+ \d+")


def constants():
    """Every number in the code that is the version of a format, as a source has it."""
    found = {}
    for path in sorted(ROOT.glob("*/sottovoce*/**/*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name, value = node.targets[0].id, ast.unparse(node.value)
                if CONSTANT.fullmatch(name) and NUMBER.fullmatch(value):
                    found[f"{path.relative_to(ROOT).as_posix()}:{name}"] = value
    return found


def properties(home):
    """Names of the files that a home's properties lead to."""
    skipped = {"diary", "log_memory", "root", "cache", "catalogues", "name"}
    paths = (getattr(home, name) for name, value in vars(type(home)).items() if isinstance(value, property))
    return {path.name for path in paths if isinstance(path, Path)} - skipped


def test_every_version_of_the_code_is_on_the_page_with_its_number_and_no_other():
    named = {
        place: text.strip(" `*").split()[-1] if "+" not in text else text.strip(" `")
        for text, place in NAMED.findall(PAGE)
    }
    named = {place: number for number, place in NAMED.findall(PAGE)}
    assert named == constants()


@pytest.mark.parametrize("home", [LabelHome(Path("/home"), "east", (), Path("/home/cache")), ServerHome(Path("/home"))])
def test_every_file_of_a_home_is_on_the_page(home):
    missing = {
        name
        for name in properties(home)
        if f"`{name}" not in PAGE and f"{name}`" not in PAGE and f"{name}/" not in PAGE
    }
    assert missing == set()


def test_every_file_of_a_release_is_on_the_page():
    assert all(f"`{name}`" in PAGE for name in ALLOWED)


def test_every_message_is_on_the_page():
    kinds = [kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, Message)]
    names = {kind.__name__ for kind in kinds if "TYPE" in vars(kind)}
    assert names
    assert {name for name in names if not re.search(rf"\b{name}\b", PAGE)} == set()


def test_a_number_that_the_code_has_not_is_found():
    """The control: the comparison bites."""
    wrong = PAGE.replace(
        "2 (`shared/sottovoce/federation/enrolment.py:VERSION`)",
        "3 (`shared/sottovoce/federation/enrolment.py:VERSION`)",
    )
    assert wrong != PAGE
    assert {place: number for number, place in NAMED.findall(wrong)}[
        "shared/sottovoce/federation/enrolment.py:VERSION"
    ] == "3"
