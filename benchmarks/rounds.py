"""Cost of a round beyond the labels' own training, under Flower's simulation engine, for 5, 20 and 100 labels.

Each label trains on the same small share, so the rest of a round's wall time is engine, messages and protocol. The
labels' own training time is as they recorded it, divided by the number of parallel processes.
"""

import json
import os
import tempfile
from pathlib import Path

from sottovoce_simulations.engine.experiment import Experiment
from sottovoce_simulations.engine.partition import Scheme
from sottovoce_simulations.engine.simulation import simulate
from sottovoce_simulations.synthesis import synthesise

LABELS = (5, 20, 100)
TRACKS_A_LABEL = 24


def overhead(catalogues: Path, labels: int, out: Path, rounds: int | None = None) -> dict[str, float]:
    """Mean seconds of a round after the first (which loads the labels' code and data), and the part beyond training."""
    experiment = Experiment(
        catalogues, Scheme.parse("iid"), clients=labels, rounds=rounds, epsilon=50.0, delta=1e-3, seed=1
    )
    simulate(experiment, out)
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    later = [row["seconds"] for row in run["rounds"][1:]]
    side_by_side = min(os.cpu_count() or 1, labels)
    trained = [
        json.loads(line)
        for file in out.glob("labels/*/timings.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    own = sum(row["seconds"] for row in trained if row["stage"] == "training" and row["round"] > 1)
    round_seconds = sum(later) / len(later)
    training_seconds = own / side_by_side / len(later)
    return {
        "round_seconds": round_seconds,
        "training_seconds": training_seconds,
        "overhead_seconds": round_seconds - training_seconds,
        "bytes_up": run["figures"]["bytes_up_per_client_per_round"],
    }


def run() -> dict[str, object]:
    """Seconds per round for each number of labels."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synthesise(root / "made", labels=5, tracks=max(LABELS) * TRACKS_A_LABEL // 5)
        pool = root / "pool"
        for file in sorted((root / "made").glob("label-*/*/**/*.flac")):
            label, style = file.relative_to(root / "made").parts[:2]
            target = pool / style / f"{label}-{file.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
        return {str(labels): overhead(pool, labels, root / f"run-{labels}") for labels in LABELS}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
