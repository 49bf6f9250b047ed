"""`sottovoce synthesise`: a progress bar while it runs, then a table or JSON."""

from pathlib import Path
from time import perf_counter

import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from sottovoce.commands.output import notes, print_json, results, shown
from sottovoce_simulations.synthesis.catalogues import Made, synthesise


def synthesise_and_show(
    out: Path,
    *,
    labels: int,
    tracks: int,
    seconds: tuple[float, float],
    seed: int,
    workers: int | None,
    as_json: bool,
) -> None:
    """Create the catalogues and print a summary.

    Raises:
        UserError: as raised by `synthesise`.
    """
    console = notes()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    began = perf_counter()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Creating music", total=None)
        made = synthesise(
            out,
            labels=labels,
            tracks=tracks,
            seconds=seconds,
            seed=seed,
            workers=workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    took = perf_counter() - began
    if as_json:
        print_json(
            {
                "out": shown(made.root),
                "labels": list(made.labels),
                "tracks": made.tracks,
                "styles": made.styles,
                "reused": made.reused,
                "seconds": round(took, 3),
            }
        )
    else:
        _show(made, took)


def _show(made: Made, took: float) -> None:
    table = Table("style", "tracks", box=box.SIMPLE_HEAD)
    table.columns[1].justify = "right"
    for style, count in made.styles.items():
        table.add_row(style, str(count))
    results().print(table)
    labels = f"{len(made.labels)} label{'s' * (len(made.labels) != 1)}"
    did = "already created by the same command" if made.reused else f"created in {took:.0f} s"
    typer.echo(f"{made.tracks} tracks of {labels} in {shown(made.root)}: {did}.")
