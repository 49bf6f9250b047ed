"""Every command that docs/deploy.md, its units and its container files name exists, with the options they give."""

import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from sottovoce.cli import app

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "deploy.md").read_text(encoding="utf-8")
UNITS = sorted((DOCS / "deploy").glob("*.service"))


def lines_of_commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    page = [line for block in blocks for line in block.splitlines() if line.startswith("sottovoce ")]
    units = [unit.read_text(encoding="utf-8").replace("\\\n", "") for unit in UNITS]
    starts = [re.findall(r"^#?ExecStart=\S+/(sottovoce .*)$", unit, re.MULTILINE) for unit in units]
    return [*page, *(line for found in starts for line in found)]


@pytest.mark.parametrize("line", lines_of_commands())
def test_a_command_exists_with_its_options(line):
    command: click.Command = typer.main.get_command(app)
    words = shlex.split(line, comments=True)[1:]
    context = click.Context(command, info_name="sottovoce")
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]}"
        command, words = found, words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    command.make_context(command.name, words, parent=context.parent)


def test_there_is_something_to_test():
    assert len(lines_of_commands()) >= 15
    assert len(UNITS) == 3


def test_the_page_names_every_file_beside_it():
    for file in (DOCS / "deploy").iterdir():
        assert f"(deploy/{file.name})" in PAGE
