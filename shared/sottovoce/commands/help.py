"""Lays out help texts: typer keeps a docstring's line breaks, which suit the source and not the terminal."""

import inspect

import click

KEEP_LINES = "\b"  # click's mark for a paragraph that is not rewrapped


def set_help(command: click.Command) -> None:
    """Let a command's help, and that of all its subcommands, wrap as the terminal does; examples stay line by line."""
    command.help = command.help and _wrapped(command.help)
    command.epilog = command.epilog and _line_by_line(command.epilog)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            set_help(below)


def _wrapped(text: str) -> str:
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        paragraph.removeprefix(KEEP_LINES).strip("\n")
        if paragraph.startswith(KEEP_LINES)
        else " ".join(paragraph.split())
        for paragraph in paragraphs
    )


def _line_by_line(text: str) -> str:
    """An epilog, of which typer joins the lines of a paragraph: so each line becomes one."""
    lines = [line for line in inspect.cleandoc(text.replace(KEEP_LINES, "")).splitlines() if line.strip()]
    return "\n\n".join(f"$ {line.strip()}" if line.strip().startswith("sottovoce ") else line for line in lines)
