"""What readers under fuzzing know beforehand: a key, a run and its first parameters, the same each time."""

from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sottovoce.federation.identity import Identity
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.records import parameters_digest

IDENTITY = Identity._of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
RUN = bytes(range(16))
PARAMETERS = np.linspace(-1, 1, 40, dtype=np.float32)


def configuration(**changes: Any) -> RunConfiguration:
    """A run's configuration; keywords override it."""
    values: dict[str, Any] = {
        "classes": ("fugue", "reel"),
        "feature_spec": "0" * 64,
        "first_parameters": parameters_digest(PARAMETERS).hex(),
        "distributed": None,
        "rounds": 3,
        "local_steps": 1,
        "batch_size": 8,
        "learning_rate": 0.1,
        "momentum": 0.0,
        "max_grad_norm": 1.0,
        "segments_per_track": 1,
        "update_clip": 1.0,
        "ring_bits": 16,
        "server_optimizer": "fedadam",
        "server_learning_rate": 1.0,
        "seed": 0,
    }
    return RunConfiguration(**(values | changes))
