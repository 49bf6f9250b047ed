"""Writes a run's files: run.json, metrics.csv, plots and report.html."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from sottovoce.files import write_text
from sottovoce.run.metrics import SHOWN, shown
from sottovoce_simulations.report import plots
from sottovoce_simulations.report.results import use

RUN_FILE = "run.json"
COLUMNS = ("round", *SHOWN, "participants", "dropped", "clipped", "bytes_up", "seconds")
"""Columns of metrics.csv; figures that the task does not have are omitted."""


def write_report(out: Path, run: Mapping[str, Any]) -> None:
    """Write all report files of a run to `out`.

    Args:
        out: an existing folder.
        run: `configuration`, `figures` and `rounds`, as in run.json.
    """
    figures, rounds = run["figures"], run["rounds"]
    write_text(out / RUN_FILE, json.dumps(run, indent=2, ensure_ascii=False) + "\n")
    write_text(out / "metrics.csv", _csv(rounds))
    measured = [row for row in rounds if row.get("loss") is not None]
    folder = out / "plots"
    plots.learning_curve(measured, folder / "learning_curve.png")
    if "confusion_matrix" in figures:
        plots.confusion_matrix(figures["confusion_matrix"], list(figures["per_class"]), folder / "confusion_matrix.png")
    spent = {label: float("inf") if value is None else value for label, value in figures["epsilon"].items()}
    plots.epsilon_per_label(spent, run["configuration"]["epsilon"], figures["delta"], folder / "epsilon.png")
    write_text(out / "report.html", _page(run, measured, max(spent.values())))


def guarantee(configuration: Mapping[str, Any]) -> str:
    """The meaning of a run's ε, and its assumptions, in words."""
    if not configuration["private"]:
        return "The run had no privacy: no noise was added, and nothing bounds what the model reveals about a track."
    unit, distributed = configuration["unit"], configuration["distributed"]
    bound = "ε bounds what the model reveals about whether one label took part"
    if unit != "label":
        bound = f"ε bounds what the model reveals about adding or removing one {unit} in a label's catalogue"
    if distributed is None:
        return f"{bound}; each label adds its own noise, so its guarantee depends on nobody else."
    return (
        f"{bound}; the noise is distributed, so the guarantee depends on the masks and on at least "
        f"{distributed['min_honest']} honest labels in each sum."
    )


def _csv(rounds: list[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    columns = [name for name in COLUMNS if not rounds or name in rounds[0]]
    table = csv.DictWriter(text, columns, extrasaction="ignore")
    table.writeheader()
    table.writerows(rounds)
    return text.getvalue()


def _page(run: Mapping[str, Any], measured: list[Mapping[str, Any]], largest: float) -> str:
    pages = Environment(
        loader=PackageLoader("sottovoce_simulations.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
    )
    return pages.get_template("report.html.jinja").render(
        configuration=run["configuration"],
        configuration_text=json.dumps(run["configuration"], indent=2, ensure_ascii=False),
        figures=run["figures"],
        guarantee=guarantee(run["configuration"]),
        shown=shown,
        rounds=measured,
        release="release",
        use=use(run["configuration"]["task"], "release"),
        epsilon_text="∞" if largest == float("inf") else f"{largest:.2f}",
    )
