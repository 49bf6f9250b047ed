"""A grid of simulations: every value of an axis, under each kind of noise, with several seeds; one table and one plot.

Each cell is an ordinary simulation with its own results in `OUT/cells/`; finished cells are not run again, so an
interrupted sweep resumes.
"""

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from sottovoce.canonical import digest
from sottovoce.errors import ConfigurationError
from sottovoce.files import write_text
from sottovoce.run.configuration import Trust
from sottovoce_simulations.engine import pooled_baseline
from sottovoce_simulations.engine.experiment import DISTRIBUTED_ONLY, Experiment
from sottovoce_simulations.engine.owned_folders import Progress, in_parallel
from sottovoce_simulations.engine.simulation import simulate
from sottovoce_simulations.report import plots
from sottovoce_simulations.report.write_report import RUN_FILE

AXES = {"epsilon": float, "delta": float, "rounds": int, "drop_out": float, "clients": int, "sample_rate": float}
"""Axes of sweeps: fields of `Experiment`, with their types."""
CONFIDENCE = 0.95
SWEEP_FILE = "sweep.json"
POOLED_FILE = "pooled.json"
COLUMNS = ("noise", "value", "seeds", "macro_f1", "low", "high", "accuracy", "entropy", "collapsed")


@dataclass(frozen=True)
class Sweep:
    """Parameters of a sweep.

    Args:
        axis: a name of `AXES`.
        values: values of the axis, ascending.
        noises: local, distributed or both.
        seeds: number of simulations per cell.
    """

    axis: str
    values: tuple[float | int, ...]
    noises: tuple[Trust, ...]
    seeds: tuple[int, ...]

    @classmethod
    def parse(cls, text: str, noises: Sequence[Trust], seeds: int, first_seed: int) -> "Sweep":
        """Parse a sweep, `axis=value,value,…`.

        Raises:
            ConfigurationError: it cannot be parsed.
        """
        axis, _, listed = text.partition("=")
        kind = AXES.get(axis)
        if kind is None:
            raise ConfigurationError(f"'{axis}' cannot be swept.", hint=f"Choose from {', '.join(AXES)}.")
        try:
            values = tuple(sorted({kind(value) for value in listed.split(",")}))
        except ValueError:
            raise ConfigurationError(
                f"'{listed}' is not a list of values for {axis}.", hint=f"Write it as {axis}=1,2,4."
            ) from None
        if seeds < 1:
            raise ConfigurationError(f"Expected seeds={seeds} >= 1.")
        return cls(axis, values, tuple(dict.fromkeys(noises)), tuple(range(first_seed, first_seed + seeds)))

    def experiments(self, base: Experiment) -> list[Experiment]:
        """All cells. With local noise, settings that apply to distributed noise only are dropped.

        Raises:
            ConfigurationError: a value is out of range.
        """
        cells = []
        for noise, value, seed in itertools.product(self.noises, self.values, self.seeds):
            changes: dict[str, Any] = {"noise": noise, self.axis: value, "seed": seed}
            if noise is Trust.LOCAL:
                changes |= dict.fromkeys(DISTRIBUTED_ONLY)
            cells.append(replace(base, **changes))
        return cells


@dataclass(frozen=True)
class _Cell:
    experiment: Experiment
    out: Path


def sweep(
    base: Experiment, wanted: Sweep, out: Path, *, cpus: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Run missing cells, then write `sweep.json`, `sweep.csv` and `sweep.png` to `out`.

    Args:
        base: common settings of all cells.
        wanted: what varies.
        out: folder for all results.
        cpus: number of cores, and of cells that run at a time; None for all.
        progress: called with the number of finished cells, and their total.

    Returns:
        The content of sweep.json: `axis`, `rows` (one per noise and value) and `pooled`.

    Raises:
        ConfigurationError: `out` contains something else, or a cell cannot be run.
        Exception: the exception of the first cell that fails; finished cells are kept.
    """
    if out.exists() and not (out.is_dir() and ((out / "cells").is_dir() or not any(out.iterdir()))):
        raise ConfigurationError(f"{out} exists and is not a sweep's results.", hint="Choose a new folder with --out.")
    if base.task != "style":
        raise ConfigurationError(
            f"A sweep compares macro-F1, which the task '{base.task}' does not have.", hint="Sweep --task style."
        )
    cells = [_Cell(each, out / "cells" / _name(each)) for each in wanted.experiments(base)]
    for cell in cells:
        cell.experiment.check()
    (out / "cells").mkdir(parents=True, exist_ok=True)
    todo = [cell for cell in cells if not (cell.out / RUN_FILE).exists()]
    done = len(cells) - len(todo)
    if todo:  # the first one alone: it scans and computes the shared features
        simulate(todo[0].experiment, todo[0].out, cpus=cpus)
        if progress:
            progress(done + 1, len(cells))
        rest = None if progress is None else _shifted(progress, done + 1, len(cells))
        in_parallel(_run, todo[1:], workers=cpus, progress=rest, chunk=1)
    rows = _rows(cells, wanted)
    result: dict[str, Any] = {
        "axis": wanted.axis,
        "confidence": CONFIDENCE,
        "rows": rows,
        "pooled": float(np.mean([_pooled(cell) for cell in cells if _is_first(cell, wanted)])),
    }
    write_text(out / SWEEP_FILE, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    write_text(out / "sweep.csv", _csv(rows))
    plots.sweep(result, out / "sweep.png")
    return result


def _run(cell: _Cell) -> None:
    simulate(cell.experiment, cell.out, cpus=1)


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    """Progress of a part, reported as progress of the whole."""
    return lambda part, _: progress(done + part, total)


def _name(experiment: Experiment) -> str:
    """A folder name derived from all of an experiment's settings."""
    settings = {field.name: getattr(experiment, field.name) for field in fields(experiment)}
    settings |= {"catalogues": str(experiment.catalogues.resolve()), "scheme": str(experiment.scheme)}
    return f"{experiment.noise}-{digest(settings).hex()[:16]}"


def _is_first(cell: _Cell, wanted: Sweep) -> bool:
    """Whether this is the seed's first cell: the pooled baseline does not depend on noise or most axes."""
    return cell.experiment.noise is wanted.noises[0] and getattr(cell.experiment, wanted.axis) == wanted.values[0]


def _pooled(cell: _Cell) -> float:
    """Macro-F1 of the pooled linear model, computed once and stored with the cell's results."""
    path = cell.out / POOLED_FILE
    if not path.exists():
        write_text(path, json.dumps({"macro_f1": pooled_baseline.linear(cell.experiment, cell.out)}) + "\n")
    return float(json.loads(path.read_text(encoding="utf-8"))["macro_f1"])


def _rows(cells: Sequence[_Cell], wanted: Sweep) -> list[dict[str, Any]]:
    rows = []
    for noise, value in itertools.product(wanted.noises, wanted.values):
        figures = [
            json.loads((cell.out / RUN_FILE).read_text(encoding="utf-8"))["figures"]
            for cell in cells
            if cell.experiment.noise is noise and getattr(cell.experiment, wanted.axis) == value
        ]
        reached = np.array([each["macro_f1"] for each in figures])
        half = interval(reached)
        rows.append(
            {
                "noise": noise.value,
                "value": value,
                "seeds": len(figures),
                "macro_f1": float(reached.mean()),
                "low": None if half is None else float(reached.mean() - half),
                "high": None if half is None else float(reached.mean() + half),
                "accuracy": float(np.mean([each["accuracy"] for each in figures])),
                "entropy": float(np.mean([each["predicted_class_entropy"] for each in figures])),
                "collapsed": sum(each["collapsed"] for each in figures),
            }
        )
    return rows


def interval(values: "np.typing.NDArray[np.float64]") -> float | None:
    """Half the width of Student's confidence interval of a mean; None for a single value."""
    if len(values) < 2:
        return None
    spread = float(np.std(values, ddof=1)) / float(np.sqrt(len(values)))
    return float(student.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * spread


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    written = csv.DictWriter(text, COLUMNS)
    written.writeheader()
    written.writerows(rows)
    return text.getvalue()
