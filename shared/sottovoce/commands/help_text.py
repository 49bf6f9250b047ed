"""Layout of help texts: typer keeps a docstring's line breaks, which suit the source but not the terminal."""

import inspect
import re

import click

KEEP_LINES = "\b"  # click's mark for a paragraph that is not rewrapped
EXAMPLES = re.compile(r"Examples?:")


def set_help(command: click.Command) -> None:
    """Wrap the help of a command and all its subcommands to the terminal.

    Examples, which may end a docstring, come last in the help, after the options, and keep their lines.
    """
    text, examples = _parted(inspect.cleandoc(command.help or ""))
    command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text) or None
    command.epilog = _line_by_line(command.epilog or "\n\n".join(examples)) or None
    if isinstance(command, click.Group):
        for below in command.commands.values():
            set_help(below)


def _parted(text: str) -> tuple[list[str], list[str]]:
    """The paragraphs before `Example:` or `Examples:`, and those from it on."""
    paragraphs = text.split("\n\n")
    start = next((index for index, each in enumerate(paragraphs) if EXAMPLES.match(each)), len(paragraphs))
    return paragraphs[:start], paragraphs[start:]


def _line_by_line(text: str) -> str:
    """An epilog with one paragraph per line, since typer joins lines of a paragraph. Commands get a prompt."""
    lines = (line.strip() for line in text.replace(KEEP_LINES, "").splitlines())
    return "\n\n".join(f"$ {line}" if line.startswith("sottovoce ") else line for line in lines if line)
