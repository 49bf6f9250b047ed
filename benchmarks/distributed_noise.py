"""Benefit of distributed noise: 3,000 tracks in total over 5, 20 and 100 labels, beside pooling with and without DP.

Synthetic tracks, and rendered scores (extra `repertoire`). For each number of labels: a real `--sweep` over ε = 1 and
8, with three seeds (one for 100 labels); the pooled linear SVM without privacy; and a *central* run: the pooled tracks
in one place, with clipped gradients summed in floating point, Gaussian noise of the σ of the labels' sum, and the same
Adam. The central run shares no code with grid, ring, masks and server, so that their cost is visible. `python -m
benchmarks distributed_noise`; `SOTTOVOCE_DISTRIBUTED_NOISE` names a folder to resume from.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cached_figures import cached
from benchmarks.quality import SYNTHESIS_SEED, one
from benchmarks.repertoire import rendered
from sottovoce.models import discovery
from sottovoce.models.parameters import initial, model_of
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import RunConfiguration, Trust
from sottovoce_client.data.dataset import TrackDataset
from sottovoce_client.training.dp_sgd import batches
from sottovoce_client.training.evaluation import measure
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_client.training.unit_gradients import UnitGradients
from sottovoce_simulations.engine import pooled_baseline
from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.partition import Scheme
from sottovoce_simulations.engine.sweep import Sweep, interval, sweep
from sottovoce_simulations.report.write_report import RUN_FILE
from sottovoce_simulations.synthesis import synthesise

TRACKS, PIECES = 3_000, 600  # pieces of each of five classes
SEEDS = {5: (1, 2, 3), 20: (1, 2, 3), 100: (1,)}
"""Seeds by number of labels: one run of 100 labels takes as long as twenty of 5."""
LABELS = tuple(SEEDS)
EPSILONS = (1.0, 8.0)
EVEN = 1_000.0  # Dirichlet concentration of styles in the pool
NETWORKS = ("cnn", "rnn")
BETAS, TAU = (0.9, 0.99), 1e-3  # as in Flower's FedAdam


def run() -> dict[str, Any]:
    """For each data set and number of labels: rows of the sweep, the baselines, and the cost of a round."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("SOTTOVOCE_DISTRIBUTED_NOISE", temporary))
        pools = dict(_pools(folder))
        figures = {name: _svm_runs(pool, folder / name) for name, pool in pools.items()}
        for name, pool in pools.items():
            figures[name] |= _networks(pool, folder / name)
        return figures


def _pools(folder: Path) -> Iterator[tuple[str, Path]]:
    yield "rendered", rendered(PIECES)
    made = folder / "synthetic-tracks"
    if not made.exists():
        synthesise(made, labels=1, tracks=TRACKS, seed=SYNTHESIS_SEED, skew=EVEN)
    yield "synthetic", next(path for path in sorted(made.iterdir()) if path.is_dir())


def _svm_runs(pool: Path, folder: Path) -> dict[str, Any]:
    base = Experiment(pool, Scheme.parse("iid"), noise=Trust.DISTRIBUTED)
    return {f"svm, {labels} labels": _svm(base, labels, folder) for labels in LABELS}


def _networks(pool: Path, folder: Path) -> dict[str, Any]:
    base = Experiment(pool, Scheme.parse("iid"), noise=Trust.DISTRIBUTED, clients=LABELS[0])
    wanted = Sweep("epsilon", EPSILONS, (Trust.DISTRIBUTED,), SEEDS[LABELS[0]][:1])
    return {
        f"{family}, {LABELS[0]} labels": _of(sweep(replace(base, family=family), wanted, folder / family))
        for family in NETWORKS
    }


def _svm(base: Experiment, labels: int, folder: Path) -> dict[str, Any]:
    base = replace(base, clients=labels)
    noises = (Trust.DISTRIBUTED, Trust.LOCAL) if labels == LABELS[0] else (Trust.DISTRIBUTED,)
    out = folder / f"svm-{labels}"
    figures = _of(sweep(base, Sweep("epsilon", EPSILONS, noises, SEEDS[labels]), out))
    cells = [json.loads((cell / RUN_FILE).read_text(encoding="utf-8")) for cell in (out / "cells").iterdir()]
    figures["cost"] = {noise.value: _cost([cell for cell in cells if _noise(cell) == noise]) for noise in noises}
    for epsilon in EPSILONS:
        reached = np.array([_kept(replace(base, epsilon=epsilon, seed=seed), out) for seed in SEEDS[labels]])
        half = interval(reached)
        figures["central"] = figures.get("central", {}) | {
            f"{epsilon:g}": {"macro_f1": reached.tolist(), "mean": float(reached.mean()), "half_interval": half}
        }
    return figures


def _of(swept: dict[str, Any]) -> dict[str, Any]:
    rows = {f"{row['noise']}, ε = {row['value']:g}": row for row in swept["rows"]}
    of_pooled = {name: row | {"of_pooled": row["macro_f1"] / swept["pooled"]} for name, row in rows.items()}
    return {"pooled": swept["pooled"], **of_pooled}


def _noise(cell: dict[str, Any]) -> Trust:
    return Trust.DISTRIBUTED if cell["configuration"]["distributed"] else Trust.LOCAL


def _cost(cells: list[dict[str, Any]]) -> dict[str, float]:
    figures = [cell["figures"] for cell in cells]
    return {
        "seconds_a_round": float(np.mean([f["seconds"]["training"] + f["seconds"]["masking"] for f in figures]))
        / figures[0]["rounds"],
        "bytes_up_per_client_per_round": float(np.mean([f["bytes_up_per_client_per_round"] for f in figures])),
        "rounds": figures[0]["rounds"],
    }


def _kept(experiment: Experiment, out: Path) -> float:
    """The central run's figure, computed once."""
    file = out / "central" / f"{experiment.epsilon:g}-{experiment.seed}.json"
    return float(cached(file, lambda: _central(experiment, out)))


def _central(experiment: Experiment, out: Path) -> float:
    """Macro-F1 of the run's recipe on the pooled tracks, with noise of the variance of the labels' sum."""
    cell = next(
        cell
        for cell in (out / "cells").iterdir()
        if cell.name.startswith("shared-")
        and (described := json.loads((cell / RUN_FILE).read_text(encoding="utf-8"))["configuration"])
        and (described["epsilon"], described["seed"]) == (experiment.epsilon, experiment.seed)
    )
    plain, sides = pooled_baseline.prepared(experiment, cell)
    labels = len(sides)
    config = experiment.run_configuration(plain.classes, labels)
    if config.distributed is None or config.distributed.sample_rate < 1:
        raise SystemExit("The central run uses every track in every round, as the recipe of svm does.")
    family = discovery.family(config.task, config.family)
    train, held_out = one([side.train for side in sides]), one(pooled_baseline.held_out(sides))
    parameters = initial(family, train.spec, len(config.classes), config.seed)
    mechanism = DistributedDiscreteGaussian.of(config, parameters.size, labels)
    std = float(np.sqrt(labels * mechanism.variance)) / mechanism.scale * config.max_grad_norm
    randomness = Randomness.for_simulation(10_000 + (experiment.seed or 0))
    first, second = np.zeros(parameters.size), np.zeros(parameters.size)
    for number in range(1, config.rounds + 1):
        total = _clipped_sum(config, parameters, train, randomness)
        total += randomness.gaussian((parameters.size,), std).numpy()
        step = -config.learning_rate / config.batch_size * total
        step *= min(1.0, config.update_clip / float(np.linalg.norm(step)))
        first = BETAS[0] * first + (1 - BETAS[0]) * step
        second = BETAS[1] * second + (1 - BETAS[1]) * step**2
        rate = config.server_learning_rate * np.sqrt(1 - BETAS[1] ** (number + 1)) / (1 - BETAS[0] ** (number + 1))
        parameters = (parameters + rate * first / (np.sqrt(second) + TAU)).astype(np.float32)
    task = discovery.task(config.task)
    return float(task.metrics(measure(family, parameters, held_out, config), config.classes)["macro_f1"])  # type: ignore[arg-type]


def _clipped_sum(
    config: RunConfiguration, parameters: NDArray[np.float32], data: TrackDataset, randomness: Randomness
) -> NDArray[np.float32]:
    family = discovery.family(config.task, config.family)
    model = model_of(family, data.spec, len(config.classes), parameters)
    gradients = UnitGradients(family, model, config.max_grad_norm)
    total, generator = np.zeros(parameters.size, np.float32), randomness.torch_generator()
    inputs = RoundInputs(family, parameters, data, config, None, randomness)
    for batch, sampled in batches(inputs, gradients, np.arange(len(data))):
        total += gradients.sum(batch, sampled, generator).numpy()
    return total


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
