"""Terminal output of a simulation: progress while it runs, tables when it is done."""

import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import platformdirs
from rich import box
from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from sottovoce.federation.refusals import RefusalReason
from sottovoce.run.metrics import SHOWN, shown
from sottovoce_server.rounds.history import RunHistory
from sottovoce_simulations.report.results import use
from sottovoce_simulations.synthesis import synthesise

LABELS, TRACKS = 5, 120


class Console:
    """Progress on standard error (only on a terminal), results on standard output.

    Args:
        quiet: print no results; a script reads them as JSON.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._out = Terminal(quiet=quiet)
        self._err = Terminal(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._err,
            disable=not self._err.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("Starting", total=None, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, text: str) -> None:
        """A new stage has begun."""
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(text, total=None, note="")

    def advance(self, done: int, total: int | None) -> None:
        """Progress of the stage."""
        self._progress.update(self._task, completed=done, total=total)

    def history(self, history: RunHistory) -> None:
        """Another round has finished, or the labels have joined."""
        note = f"{len(history.promises)} labels"
        if history.metrics:
            newest = history.metrics[max(history.metrics)]
            note += "".join(f", {name} {value}" for name, value in shown(newest).items())
        self._progress.update(self._task, completed=len(history.rounds), note=note)

    def synthetic(self) -> Path:
        """Catalogues of synthetic music, created once in the user's cache."""
        folder = platformdirs.user_cache_path("sottovoce") / "synthetic"
        with self:
            self.stage("Creating synthetic catalogues")
            synthesise(folder, labels=LABELS, tracks=TRACKS, progress=self.advance)
        return folder

    def show(self, run: dict[str, Any], out: Path) -> None:
        """Print the tables and suggested commands."""
        figures, configuration = run["figures"], run["configuration"]
        self._out.print(_rounds(run["rounds"]))
        self._out.print(_privacy(figures, configuration))
        if figures.get("collapsed"):
            self._out.print(
                f"[bold yellow]Warning:[/] the predictions have collapsed into one class (entropy "
                f"{figures['predicted_class_entropy']:.2f} of 1); accuracy alone would hide it."
            )
        for label, reason in run["refusals"].items():
            self._out.print(f"{label} declined: {RefusalReason(reason).explained}.")
        seconds = figures["seconds"]
        self._out.print(
            f"{', '.join(f'{name} [bold]{value}[/]' for name, value in shown(figures).items())} on held-out "
            f"tracks of {figures['clients']} labels; {figures['dropped']} drop-outs; "
            f"{figures['bytes_up_per_client_per_round'] / 1024:.1f} KiB uploaded per label and round; "
            f"{seconds['total']:.0f} s, of which {seconds['features']:.0f} s for features."
        )
        self._out.print(f"Report: {out / 'report.html'}", soft_wrap=True)
        self._out.print("\nNext:", style="bold")
        # In a virtual environment that is not activated, as in `make demo`, the bare name would not be found.
        program = "sottovoce" if shutil.which("sottovoce") else sys.argv[0]
        for command in (
            use(configuration["task"], figures["release"], program),
            f"{program} release verify {figures['release']} --key {out / 'federation.toml'}",
        ):
            self._out.print(f"  {command}", soft_wrap=True, highlight=False)

    def show_sweep(self, result: dict[str, Any], out: Path) -> None:
        """Print the table of a sweep, and where its files are."""
        table = Table(
            "noise", result["axis"], "macro-F1", f"{result['confidence']:.0%}", "collapsed", box=box.SIMPLE_HEAD
        )
        for column in table.columns[1:]:
            column.justify = "right"
        for row in result["rows"]:
            between = "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
            collapsed = f"{row['collapsed']} of {row['seeds']}"
            table.add_row(row["noise"], f"{row['value']:g}", f"{row['macro_f1']:.3f}", between, collapsed)
        table.caption = f"pooled linear model without privacy: {result['pooled']:.3f}"
        self._out.print(table)
        self._out.print(f"Table: {out / 'sweep.csv'}\nPlot: {out / 'sweep.png'}", soft_wrap=True)


def _rounds(rounds: list[dict[str, Any]]) -> Table:
    names = {name: title for name, title in SHOWN.items() if name in rounds[0]}
    table = Table("round", *names.values(), "participants", box=box.SIMPLE_HEAD)
    for column in table.columns:
        column.justify = "right"
    for row in rounds:
        measured = [("-" if row[name] is None else f"{row[name]:.3f}") for name in names]
        took_part = f"{len(row['survivors'])} of {row['participants']}"
        table.add_row(str(row["round"]), *measured, "aborted" if row["aborted"] else took_part)
    return table


def _privacy(figures: dict[str, Any], configuration: dict[str, Any]) -> Table:
    table = Table("label", f"ε at δ = {figures['delta']:g}", box=box.SIMPLE_HEAD)
    table.columns[1].justify = "right"
    for label, epsilon in figures["epsilon"].items():
        table.add_row(label, "∞ (no privacy)" if epsilon is None else f"{epsilon:.2f}")
    table.caption = f"unit: one {configuration['unit']} added or removed"
    return table
