"""Prints the digests that runs of many kinds lead to: `test_global_model.py` runs it under other processors' code."""

import json
import sys

import numpy as np

from sottovoce.protocol.ring import Ring
from sottovoce.run.configuration import BandedFactorisation, DistributedNoise, RunConfiguration, Unit
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import clip_follows, parameters_digest
from sottovoce.run.round_sum import RoundSum

SIZE, LABELS, RUN = 1003, 5, bytes(range(16))
KINDS = {
    "fedavg": {"server_optimizer": "fedavg", "server_learning_rate": 0.7},
    "fedavgm": {"server_optimizer": "fedavgm", "ring_bits": 24},
    "fedadam": {"server_optimizer": "fedadam", "server_learning_rate": 0.1},
    "fedyogi": {"server_optimizer": "fedyogi", "server_learning_rate": 0.1, "ring_bits": 16},
    "distributed": {"distributed": DistributedNoise(3, 1.0, 0.5), "server_optimizer": "fedadam"},
    "clip that follows": {"distributed": DistributedNoise(3, 1.0, 0.5, clip_quantile=0.5)},
    "whole labels": {"distributed": DistributedNoise(3, 1.0, 1.0, clip_quantile=0.7), "unit": Unit.LABEL},
    "banded": {"distributed": DistributedNoise(3, 1.0, 1.0, banded=BandedFactorisation(4, (64, 32, 21)))},
}


def drawn(size: int, seed: int) -> np.ndarray:
    """Whole numbers below 2^32 by a generator that is arithmetic alone: `[size]`."""
    found = np.empty(size, np.uint64)
    state = seed
    for index in range(size):
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        found[index] = state >> 32
    return found


def first_parameters() -> np.ndarray:
    return (drawn(SIZE, 1).astype(np.float64) / 2**32 - 0.5).astype(np.float32)


def config_of(**changes: object) -> RunConfiguration:
    values = {
        "classes": ("fugue", "reel"), "feature_spec": "0" * 64, "rounds": 4, "local_steps": 1, "batch_size": 8,
        "learning_rate": 0.3, "momentum": 0.0, "max_grad_norm": 1.0, "segments_per_track": 1, "update_clip": 1.3,
        "ring_bits": 32, "server_optimizer": "fedavg", "server_learning_rate": 1.0, "seed": 0, "distributed": None,
        "first_parameters": parameters_digest(first_parameters()).hex(),
    }  # fmt: skip
    return RunConfiguration(**{**values, **changes})  # type: ignore[arg-type]


def sum_of(config: RunConfiguration, size: int, number: int) -> RoundSum:
    """A sum that honest labels could have made: small numbers around zero."""
    ring, noise = Ring(config.ring_bits), drawn(size, 100 + number).astype(np.int64)
    if config.distributed:
        values = noise % 2001 - 1000
    else:
        top = (1 << min(24, config.ring_bits - 3)) - 2
        values = 4 * (top // 2) + noise % (top // 20) - top // 40
    vector = (values % 2**config.ring_bits).astype(ring.dtype)
    return RoundSum(number, LABELS, 4, vector)


def path(kind: str) -> str:
    """The digest after four rounds, of which the third was aborted."""
    config = config_of(**KINDS[kind])
    trainable = np.ones(SIZE, bool)
    trainable[::10] = kind == "fedadam"
    model = GlobalModel.start(config, run=RUN, labels=LABELS, trainable=trainable, first=first_parameters())
    assert model.coordinates == trainable.sum() + clip_follows(config)
    for number in (1, 2, 3, 4):
        total = sum_of(config, model.coordinates, number)
        model.follow(RoundSum.aborted(3, model.ring) if number == 3 else total)
    return model.digest.hex()


if __name__ == "__main__":
    json.dump({kind: path(kind) for kind in KINDS}, sys.stdout)
