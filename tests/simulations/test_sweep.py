"""A sweep runs each cell once, resumes after an interruption, and writes one table and one plot."""

import csv
import json

import numpy as np
import pytest

from sottovoce.errors import ConfigurationError
from sottovoce.run.configuration import Trust
from sottovoce_simulations.engine import sweep as sweep_module
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.partition import Scheme
from sottovoce_simulations.engine.sweep import Sweep, interval, sweep

BOTH = (Trust.LOCAL, Trust.DISTRIBUTED)


@pytest.fixture
def base(tmp_path):
    return Experiment(tmp_path, Scheme.parse("iid"), clients=5, noise=Trust.DISTRIBUTED, min_honest=2)


@pytest.fixture
def ran(monkeypatch):
    """Cells that were run; what each reaches follows from its settings."""
    cells = []

    def simulate(experiment, out, *, cpus):
        cells.append(experiment)
        out.mkdir(parents=True)
        reached = 0.5 + experiment.epsilon / 100 + experiment.seed / 1000 + (experiment.noise is Trust.DISTRIBUTED) / 10
        figures = {"macro_f1": reached, "accuracy": reached, "predicted_class_entropy": 0.9, "collapsed": False}
        (out / "run.json").write_text(json.dumps({"figures": figures}))

    def serially(job, tasks, **options):
        for task in tasks:
            job(task)

    monkeypatch.setattr(sweep_module, "simulate", simulate)
    monkeypatch.setattr(sweep_module, "in_parallel", serially)
    monkeypatch.setattr(sweep_module.pooled_baseline, "linear", lambda experiment, out: 0.9)
    return cells


def test_each_cell_is_run_once_and_the_table_has_a_row_for_each_value(base, ran, tmp_path):
    out = tmp_path / "out"
    result = sweep(base, Sweep.parse("epsilon=8,1", BOTH, 3, 1), out)
    assert len(ran) == 12
    assert {experiment.min_honest for experiment in ran if experiment.noise is Trust.LOCAL} == {None}
    assert [(row["noise"], row["value"]) for row in result["rows"]] == [
        ("local", 1.0), ("local", 8.0), ("distributed", 1.0), ("distributed", 8.0),
    ]  # fmt: skip
    first = result["rows"][0]
    assert first["macro_f1"] == pytest.approx(0.512)
    assert first["low"] < 0.512 < first["high"]
    assert result["pooled"] == 0.9
    with (out / "sweep.csv").open(encoding="utf-8") as file:
        assert [row["noise"] for row in csv.DictReader(file)] == ["local", "local", "distributed", "distributed"]
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_sweep_resumes_where_it_stopped(base, ran, tmp_path):
    out = tmp_path / "out"
    sweep(base, Sweep.parse("epsilon=1,8", (Trust.DISTRIBUTED,), 2, 1), out)
    assert len(ran) == 4
    sweep(base, Sweep.parse("epsilon=1,8", BOTH, 2, 1), out)
    assert len(ran) == 8
    assert {experiment.noise for experiment in ran[4:]} == {Trust.LOCAL}


def test_another_folder_is_left_alone(base, ran, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").write_text("all of it")
    with pytest.raises(ConfigurationError, match="is not a sweep's results"):
        sweep(base, Sweep.parse("epsilon=1", BOTH, 1, 1), out)
    assert ran == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour=1,2", "'colour' cannot be swept"),
        ("epsilon=1,x", "not a list of values"),
        ("epsilon", "not a list of values"),
    ],
)
def test_what_cannot_be_swept_is_said(text, message):
    with pytest.raises(ConfigurationError, match=message):
        Sweep.parse(text, BOTH, 3, 1)


def test_an_interval_is_students():
    assert interval(np.array([0.5])) is None
    assert interval(np.array([0.4, 0.5, 0.6])) == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)


def test_no_more_cores_are_used_than_are_given(base, ran, tmp_path, monkeypatch):
    pools, cores = [], []
    simulate, in_parallel = sweep_module.simulate, sweep_module.in_parallel

    def noted(experiment, out, *, cpus):
        cores.append(cpus)
        simulate(experiment, out, cpus=cpus)

    def parallel(job, tasks, *, workers, **options):
        pools.append(workers)
        in_parallel(job, tasks)

    monkeypatch.setattr(sweep_module, "simulate", noted)
    monkeypatch.setattr(sweep_module, "in_parallel", parallel)
    sweep(base, Sweep.parse("epsilon=1,8", (Trust.DISTRIBUTED,), 2, 1), tmp_path / "out", cpus=3)
    assert pools == [3]
    assert cores == [3, 1, 1, 1]
