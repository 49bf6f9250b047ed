"""Baseline of every federation: a linear model on the same tracks, pooled and without privacy."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sottovoce.run.configuration import RunConfiguration, Trust, Unit
from sottovoce_client.data.dataset import TrackDataset
from sottovoce_client.data.preparation import Prepared, prepare
from sottovoce_client.home.label_home import LabelHome
from sottovoce_simulations.engine.experiment import DISTRIBUTED_ONLY, Experiment
from sottovoce_simulations.report.write_report import RUN_FILE

LINEAR = {"linearsvc__C": (0.0003, 0.001, 0.003, 0.01, 0.1, 1)}
Table = tuple[NDArray[np.float32], NDArray[np.int64]]


def prepared(experiment: Experiment, out: Path) -> tuple[RunConfiguration, list[Prepared]]:
    """A finished simulation's configuration for `svm` with local noise, and each label's split under it.

    Args:
        experiment: the simulated experiment.
        out: folder of its results.
    """
    classes = tuple(json.loads((out / RUN_FILE).read_text(encoding="utf-8"))["configuration"]["classes"])
    homes = sorted((out / "labels").iterdir())
    local: dict[str, Any] = {"noise": Trust.LOCAL, **dict.fromkeys(DISTRIBUTED_ONLY)}
    plain = replace(experiment, family="svm", rounds=None, unit=Unit.TRACK, **local)
    config = plain.run_configuration(classes, len(homes))
    return config, [prepare(LabelHome.open(home), config) for home in homes]


def held_out(sides: Sequence[Prepared]) -> list[TrackDataset]:
    """The labels' held-out tracks, for labels that have any."""
    return [side.holdout for side in sides if side.holdout]


def table(datasets: Sequence[TrackDataset]) -> Table:
    """The mean summary of each track in all data sets, `[tracks, numbers]`, and its style, `[tracks]`."""
    means = [np.add.reduceat(data.segments, data.offsets[:-1]) / np.diff(data.offsets)[:, None] for data in datasets]
    return np.concatenate(means), np.concatenate([data.targets for data in datasets])


def macro_f1(model: Any, grid: dict[str, Any], train: Table, held_out: Table) -> float:
    """Macro-F1 on `held_out` of a scikit-learn model whose grid is searched by cross-validation on `train`."""
    search = GridSearchCV(make_pipeline(StandardScaler(), model), grid, scoring="f1_macro", cv=3)
    search.fit(*train)
    return float(f1_score(held_out[1], search.predict(held_out[0]), average="macro"))


def linear(experiment: Experiment, out: Path) -> float:
    """Macro-F1 of the pooled linear SVM on a finished simulation's tracks."""
    _, sides = prepared(experiment, out)
    return macro_f1(LinearSVC(), LINEAR, table([side.train for side in sides]), table(held_out(sides)))
