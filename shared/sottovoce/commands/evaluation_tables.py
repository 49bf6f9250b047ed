"""Evaluation figures as tables for people."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sottovoce.commands.output import counted, notes, results, say, shown

MOST_NAMED = 20


def print_figures(figures: dict[str, Any]) -> None:
    """Print what `evaluate` found: figures on stdout, files left out on stderr."""
    _print_left_out(figures)
    if not figures["tracks"]:
        return
    console = results()
    console.print(
        Text.assemble(
            ("accuracy ", ""),
            (f"{figures['accuracy']:.3f}", "bold"),
            (", macro-F1 ", ""),
            (f"{figures['macro_f1']:.3f}", "bold"),
            (f", on {counted(figures['tracks'], 'track')}", ""),
        )
    )
    if figures["collapsed"]:
        say(
            notes(), "Warning", "nearly all tracks are classified as one style: the model has collapsed.", "bold yellow"
        )
    _print_classes(console, figures["per_class"])
    _print_confusion(console, figures["confusion_matrix"], list(figures["per_class"]))


def _print_left_out(figures: dict[str, Any]) -> None:
    for style, count in figures["unknown_styles"].items():
        say(
            notes(), "Left out", f"'{shown(style)}' is not a style of the release ({counted(count, 'file')}).", "yellow"
        )
    unusable = figures["unusable"]
    for each in unusable[:MOST_NAMED]:
        say(notes(), "Left out", f"{shown(each['file'])}: {each['reason']}", "yellow")
    if len(unusable) > MOST_NAMED:
        say(
            notes(), "Left out", f"{counted(len(unusable) - MOST_NAMED, 'more file')}; --json names them all.", "yellow"
        )


def _print_classes(console: Console, per_class: dict[str, dict[str, float]]) -> None:
    table = Table("style", box=None, pad_edge=False, header_style="bold")
    for column in ("precision", "recall", "F1", "tracks"):
        table.add_column(column, justify="right")
    for style, row in per_class.items():
        numbers = (f"{row[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(Text(style), *numbers, f"{row['support']:.0f}")
    console.print()
    console.print(table)


def _print_confusion(console: Console, matrix: list[list[int]], classes: list[str]) -> None:
    """Rows are true styles. Columns are numbered, and the rows explain the numbers, so that many styles fit."""
    table = Table("true style, recognised as →", box=None, pad_edge=False, header_style="bold")
    for number in range(1, len(classes) + 1):
        table.add_column(str(number), justify="right")
    for index, (style, row) in enumerate(zip(classes, matrix, strict=True)):
        cells = [_cell(count, right=index == column) for column, count in enumerate(row)]
        table.add_row(Text(f"{index + 1} {style}"), *cells)
    console.print()
    console.print(table)


def _cell(count: int, *, right: bool) -> Text:
    if count == 0:
        return Text("·", "bright_black")
    return Text(str(count), "bold green" if right else "")
