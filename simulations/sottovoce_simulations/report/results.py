"""A finished run as plain figures, for run.json and the tables."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sottovoce.models import discovery
from sottovoce.models.trainable import trainable_mask
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.metrics import SHOWN
from sottovoce_client.data.preparation import prepare
from sottovoce_client.training.evaluation import measure
from sottovoce_server.rounds.history import Outcome, RunHistory
from sottovoce_simulations.engine.local_federation import Federation


def rows(history: RunHistory) -> list[dict[str, Any]]:
    """One row per round, with figures of the model after the round; None if they never arrived.

    `noise` gives the standard deviations that the labels' noise leaves on them.
    """
    known: set[str] = set().union(*history.metrics.values())
    names = [name for name in SHOWN if name in known]
    return [
        {
            "round": record.number,
            **{name: history.metrics.get(record.number, {}).get(name) for name in names},
            "noise": history.metrics.get(record.number, {}).get("noise"),
            "participants": len(record.participants),
            "survivors": list(record.survivors),
            "dropped": record.dropped,
            "clipped": record.clipped,
            "bytes_up": record.bytes_up,
            "seconds": record.seconds,
            "aborted": record.aborted,
        }
        for record in history.rounds
    ]


def figures(
    federation: Federation, config: RunConfiguration, outcome: Outcome, seconds: dict[str, float], release: Path
) -> dict[str, Any]:
    """The figures that `--json` prints. An infinite ε (no privacy) is None, since JSON has no infinity."""
    history = outcome.history
    spent = federation.spent(config.delta)
    sent = [record.bytes_up for record in history.rounds if record.survivors]
    return {
        **exact(federation, config, outcome.parameters),
        "epsilon": {label: value if math.isfinite(value) else None for label, value in spent.items()},
        "delta": config.delta,
        "rounds": len(history.rounds),
        "aborted": sum(record.aborted is not None for record in history.rounds),
        "clients": len(history.promises),
        "dropped": sum(record.dropped for record in history.rounds),
        "parameters": int(outcome.parameters.size),
        "trained": int(trainable_mask(config).sum()),
        "bytes_up_per_client_per_round": float(np.mean(sent)),
        "seconds": seconds,
        "release": str(release),
    }


def exact(federation: Federation, config: RunConfiguration, parameters: NDArray[np.float32]) -> Mapping[str, object]:
    """Figures of the final model on all held-out tracks, without noise, which only a simulation can compute.

    The rounds' figures are those that a coordinator sees, with noise.
    """
    family, task = discovery.family(config.task, config.family), discovery.task(config.task)
    sums = np.zeros(len(task.counters(len(config.classes))), np.int64)
    for home in federation.homes:
        held_out = prepare(home, config).holdout
        if held_out is not None:
            sums += measure(family, parameters, held_out, config)
    return task.metrics(sums, config.classes)


USES = {
    "style": "{program} classify YOUR-FILE --release {release}",
    "generator": "{program} generate --release {release} --style STYLE -o music.wav",
    "editor": "{program} edit YOUR-FILE --release {release} -o edited.wav",
}


def use(task: str, release: str, program: str = "sottovoce") -> str:
    """The command for using a release of this task."""
    return USES[task].format(program=program, release=release)
