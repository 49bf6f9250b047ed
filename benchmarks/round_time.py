"""What a round's time reveals about its batches: CPU seconds of training against the number of sampled units.

One label, for each family, with local and with distributed noise. `correlation` is Pearson's; `auc` is the AUC of
distinguishing the rounds with the larger half of batches by their time (0.5 is chance).
"""

import json
import time
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.privacy.calibration import plan_for, with_least_noise
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import DistributedNoise, RunConfiguration
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.training.distributed_noise import clipped_sum
from sottovoce_client.training.dp_sgd import train
from sottovoce_client.training.poisson_sampling import UnitSampler
from sottovoce_client.training.round_inputs import RoundInputs

UNITS, BATCH, LABELS = 400, 96, 5
CLASSES = tuple("abcdefgh")
ROUNDS = {"svm": 150, "cnn": 60, "rnn": 40}
SHAPES = {"svm": (408,), "cnn": (96, 173), "rnn": (96, 173)}
SEGMENTS = 8


def run() -> dict[str, Any]:
    """Correlations, AUCs, seconds."""
    torch.set_num_threads(1)
    return {
        f"{name}, {'distributed' if distributed else 'local'} noise": measured(name, distributed=distributed)
        for name in ROUNDS
        for distributed in (False, True)
    }


def configuration(name: str, *, distributed: bool) -> RunConfiguration:
    recipe = discovery.family("style", name).recipe(private=True, distributed=distributed)
    values = {field: getattr(recipe, field) for field in recipe.__dataclass_fields__ if field != "sample_rate"}
    config = RunConfiguration(
        **{
            **values,
            "classes": CLASSES,
            "family": name,
            "feature_spec": discovery.spec_of("style", name).digest,
            "batch_size": BATCH,
            "seed": 0,
            "first_parameters": "0" * 64,
            "local_steps": 1 if distributed else 2,
            "distributed": DistributedNoise(min_honest=2, noise_multiplier=1.0, sample_rate=BATCH / UNITS)
            if distributed
            else None,
        }
    )
    size = initial(discovery.family("style", name), discovery.spec_of("style", name), len(CLASSES), 0).size
    return with_least_noise(config, size, LABELS) if distributed else config


def measured(name: str, *, distributed: bool) -> dict[str, float]:
    config, rng = configuration(name, distributed=distributed), np.random.default_rng(0)
    family, spec = discovery.family("style", name), discovery.spec_of("style", name)
    samples = (
        Sample(rng.standard_normal((SEGMENTS, *SHAPES[name]), dtype=np.float32), number % len(CLASSES))
        for number in range(UNITS)
    )
    dataset, parameters = TrackDataset.build(samples, spec), initial(family, spec, len(CLASSES), 0)
    mechanism = DistributedDiscreteGaussian.of(config, parameters.size, LABELS) if distributed else None
    plan = plan_for(config, UNITS, mechanism=mechanism)
    seconds, units, drawn = [], [], []
    draw = UnitSampler.draw

    def counted(sampler: UnitSampler, randomness: Randomness) -> NDArray[np.int64]:
        found = draw(sampler, randomness)
        drawn.append(len(found))
        return found

    with patch.object(UnitSampler, "draw", counted):
        for number in range(ROUNDS[name] + 3):
            drawn.clear()
            inputs = RoundInputs(family, parameters, dataset, config, plan, Randomness.system())
            started = time.process_time()
            if mechanism:
                clipped_sum(inputs, mechanism.signs(b"run", number + 1))
            else:
                train(inputs)
            seconds.append(time.process_time() - started)
            units.append(sum(drawn))
    sizes, times = np.array(units[3:]), np.array(seconds[3:])  # the first rounds load libraries
    return {
        "correlation": float(np.corrcoef(sizes, times)[0, 1]),
        "auc": float(roc_auc_score(sizes > np.median(sizes), times)),
        "median_seconds": float(np.median(times)),
        "deviation_of_seconds": float(np.subtract(*np.quantile(times, [0.75, 0.25])) / 1.35),
        "units_a_step": float(sizes.mean() / config.local_steps),
    }


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
