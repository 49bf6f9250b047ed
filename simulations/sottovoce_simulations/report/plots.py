"""The three plots of a run, as PNG: learning curve, confusion matrix, ε per label."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sottovoce.files import written_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCENT, SECOND, MUTED = "#3b5b92", "#c8713a", "#8a8f98"
STYLE: Any = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}


def _axes(title: str, width: float, height: float) -> "tuple[Figure, Axes]":
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with written_aside(path) as aside:
        figure.savefig(aside, format="png")


def learning_curve(rounds: Sequence[Mapping[str, float]], path: Path) -> None:
    """Accuracy and macro-F1 (left axis, 0 to 1), where the task has them, and loss (right axis) against the round."""
    figure, axes = _axes("Learning curve", 7, 4)
    numbers = [row["round"] for row in rounds]
    if rounds and "accuracy" not in rounds[0]:
        axes.plot(numbers, [row["loss"] for row in rounds], color=ACCENT, marker="o", ms=3)
        axes.set(xlabel="round", ylabel="loss on held-out tracks of all labels")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="#e6e6e6")
        _save(figure, path)
        return
    axes.plot(numbers, [row["accuracy"] for row in rounds], color=ACCENT, marker="o", ms=3, label="accuracy")
    axes.plot(numbers, [row["macro_f1"] for row in rounds], color=SECOND, marker="o", ms=3, label="macro-F1")
    axes.set(xlabel="round", ylabel="on held-out tracks of all labels", ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#e6e6e6")
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    right.plot(numbers, [row["loss"] for row in rounds], color=MUTED, ls="--", label="loss")
    right.set_ylabel("loss")
    right.set_ylim(bottom=0)
    lines = [*axes.get_lines(), *right.get_lines()]
    right.spines["top"].set_visible(False)
    figure.legend(lines, [str(line.get_label()) for line in lines], frameon=False, loc="outside lower center", ncols=3)
    _save(figure, path)


def confusion_matrix(matrix: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    """Confusion matrix with rows normalised to the true style, and counts written in."""
    counts = np.asarray(matrix, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.5, 0.75 * len(classes) + 1.5)
    figure, axes = _axes("Confusion matrix (tracks)", side + 0.8, side)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        shade = "white" if shares[row, column] > 0.6 else "#333333"
        axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=shade, fontsize=9)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="recognised as", ylabel="true style")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true style")
    _save(figure, path)


def epsilon_per_label(spent: Mapping[str, float], ceiling: float, delta: float, path: Path) -> None:
    """ε spent by each label's tracks, and the run's ceiling. An infinite ε (no privacy) is stated, not drawn."""
    finite = {label: value for label, value in spent.items() if np.isfinite(value)}
    figure, axes = _axes("Privacy spent per label", 7, max(2.4, 0.32 * len(spent) + 1.4))
    axes.barh(list(finite), list(finite.values()), color=ACCENT, height=0.6)
    axes.invert_yaxis()
    if finite:
        axes.axvline(ceiling, color=SECOND, ls="--", label=f"ceiling ε = {ceiling:g}")
        figure.legend(frameon=False, loc="outside lower center")
    else:
        axes.text(0.5, 0.5, "no privacy: ε is infinite", transform=axes.transAxes, ha="center", va="center")
        axes.set_yticks([])
    axes.set(xlabel=f"ε at δ = {delta:g}")
    _save(figure, path)


def sweep(result: Mapping[str, Any], path: Path) -> None:
    """Macro-F1 against the swept value, one curve per noise with confidence intervals, and the pooled baseline."""
    figure, axes = _axes("Macro-F1 on held-out tracks", 7, 4.2)
    for noise, color in (("local", SECOND), ("distributed", ACCENT)):
        rows = [row for row in result["rows"] if row["noise"] == noise]
        if not rows:
            continue
        values, means = [row["value"] for row in rows], [row["macro_f1"] for row in rows]
        axes.plot(values, means, color=color, marker="o", ms=4, label=f"{noise} noise")
        if all(row["low"] is not None for row in rows):
            low, high = [row["low"] for row in rows], [row["high"] for row in rows]
            axes.fill_between(values, low, high, color=color, alpha=0.18, lw=0)
    axes.axhline(result["pooled"], color=MUTED, ls="--", label="pooled linear model, no privacy")
    swept = [row["value"] for row in result["rows"]]
    if result["axis"] == "epsilon":
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(set(swept)), [f"{value:g}" for value in sorted(set(swept))])
    axes.set(xlabel="ε" if result["axis"] == "epsilon" else result["axis"], ylabel="macro-F1", ylim=(0, 1))
    axes.grid(axis="y", color="#e6e6e6")
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    _save(figure, path)
