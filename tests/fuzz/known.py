"""What readers under fuzzing know beforehand: a key, a run and its first parameters, the same each time."""

from functools import partial

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.small_run import small_run

from sottovoce.federation.identity import Identity
from sottovoce.run.records import parameters_digest

IDENTITY = Identity._of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
RUN = bytes(range(16))
PARAMETERS = np.linspace(-1, 1, 40, dtype=np.float32)
configuration = partial(
    small_run, first_parameters=parameters_digest(PARAMETERS).hex(), ring_bits=16, server_optimizer="fedadam"
)
