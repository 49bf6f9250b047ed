"""How a masked-round message rides in a Flower message: the names that both edges share.

Plain values only: this module does not import Flower.
"""

import hashlib
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

RECORD = "sottovoce"
FRAME = "frame"
PARAMETERS = "arrays"


class Action(StrEnum):
    """Flower's message type of each exchange."""

    ANNOUNCE = "query.announce"
    TRAIN = "train.report"
    EVALUATE = "evaluate.report"
    CROSS_CHECK = "query.cross_check"
    UNMASK = "query.unmask"


def parameters_digest(parameters: NDArray[np.float32]) -> bytes:
    """SHA-256 (32 bytes) of the global parameters as little-endian float32, which labels sign in the cross-check."""
    return hashlib.sha256(np.ascontiguousarray(parameters, dtype="<f4").data).digest()
