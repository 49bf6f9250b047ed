"""A small, private run of the linear model, for tests that need a configuration and no particular one."""

from typing import Any

from sottovoce.run.configuration import RunConfiguration


def small_run(**changes: Any) -> RunConfiguration:
    """Its configuration; keywords override it."""
    knobs: dict[str, Any] = {
        "classes": ("fugue", "reel"),
        "feature_spec": "0" * 64,
        "first_parameters": "0" * 64,
        "distributed": None,
        "rounds": 3,
        "local_steps": 1,
        "batch_size": 8,
        "learning_rate": 0.1,
        "momentum": 0.0,
        "max_grad_norm": 1.0,
        "segments_per_track": 1,
        "update_clip": 1.0,
        "ring_bits": 32,
        "server_optimizer": "fedavg",
        "server_learning_rate": 1.0,
        "seed": 0,
    }
    return RunConfiguration(**(knobs | changes))
