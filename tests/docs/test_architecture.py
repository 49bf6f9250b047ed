"""docs/architecture.md points at code that exists, and has every folder of every package."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PLACES = sorted(set(re.findall(r"`([\w/.]+\.py:[\w.]+)`", PAGE)))
PACKAGES = {
    "shared": "sottovoce",
    "client": "sottovoce_client",
    "server": "sottovoce_server",
    "simulations": "sottovoce_simulations",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_to_open_exists(place):
    file, _, name = place.partition(":")
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    for part in name.split("."):
        named = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert part in named
        body = named[part].body


def test_every_way_is_shown():
    assert len(PLACES) >= 40


@pytest.mark.parametrize("owner", PACKAGES)
def test_every_folder_of_a_package_stands_in_its_table(owner):
    table = PAGE.partition(f"| in `{PACKAGES[owner]}` |")[2].partition("\n\n")[0]
    folders = {path.parent.name for path in (ROOT / owner / PACKAGES[owner]).glob("*/__init__.py")}
    assert folders <= set(re.findall(r"`(\w+)/`", table))
