"""Every command that a page, a unit or a container file names exists, with the options they give."""

import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest
import typer

from sottovoce.cli import app
from sottovoce.studio.editing.methods import METHODS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCES = (ROOT, ROOT / "simulations", ROOT / "shared")
UNITS = sorted((DOCS / "deploy").glob("*.service"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("tutorials/*.md"))]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def lines(page):
    """Lines of a page's shell blocks, with continued ones joined."""
    blocks = re.findall(r"^ *```(?:sh)?\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line.strip() for block in blocks for line in block.replace("\\\n", "").splitlines()]


def started(pattern):
    return sorted({found[1] for page in PAGES for line in lines(page) if (found := re.match(pattern, line))})


def from_units():
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("\\\n", "")
        yield from re.findall(r"^#?ExecStart=\S+/(sottovoce .*)$", text, re.MULTILINE)


COMMANDS = [*started(r"(?:[\w./-]*/)?(sottovoce .*)"), *from_units()]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists_with_its_options(line):
    command: click.Command = typer.main.get_command(app)
    words = shlex.split(line, comments=True)[1:]
    context = click.Context(command, info_name="sottovoce", **command.context_settings)
    while isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        command, words = found, words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    command.make_context(command.name, words, parent=context.parent)


@pytest.mark.parametrize("module", sorted({line.split()[0] for line in started(r"(?:\w+=\S+ )*python -m (.*)")}))
def test_a_module_exists(module):
    place = Path(*module.split("."))
    assert any((folder / place).with_suffix(".py").is_file() or (folder / place).is_dir() for folder in SOURCES)


@pytest.mark.parametrize("name", sorted({line.split()[0] for line in started(r"make ([a-z-]+)")}))
def test_a_target_of_make_exists(name):
    assert name in TARGETS


def test_there_is_something_to_test():
    assert len(COMMANDS) >= 60
    assert len(UNITS) == 4


def test_the_page_on_deployment_names_every_file_beside_it():
    page = (DOCS / "deploy.md").read_text(encoding="utf-8")
    for file in (DOCS / "deploy").iterdir():
        assert f"(deploy/{file.name})" in page


def test_every_method_of_filling_gaps_is_described():
    section = (DOCS / "editing.md").read_text(encoding="utf-8").partition("## Gaps")[2].partition("\n## ")[0]
    assert {"auto", *re.findall(r"^- `(\w+)`:", section, re.MULTILINE)} == set(METHODS)
