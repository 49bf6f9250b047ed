"""How a masked-round message rides in a Flower message: the names that both edges share.

Plain values only: this module does not import Flower.
"""

import hashlib
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sottovoce.protocol.violations import WrongParameters
from sottovoce.run.configuration import CLIPS, RunConfiguration

RECORD = "sottovoce"
FRAME = "frame"
PARAMETERS = "arrays"
CLIP = "clip"


class Action(StrEnum):
    """Flower's message type of each exchange."""

    ANNOUNCE = "query.announce"
    ROSTER = "query.roster"
    NONCES = "query.nonces"
    PAIRING = "query.pairing"
    PREPARE = "query.prepare"
    TRAIN = "train.report"
    EVALUATE = "evaluate.report"
    CROSS_CHECK = "query.cross_check"
    UNMASK = "query.unmask"
    COSIGN = "query.cosign"


def parameters_digest(parameters: NDArray[np.float32]) -> bytes:
    """SHA-256 (32 bytes) of the global parameters as little-endian float32, which labels sign in the cross-check."""
    return hashlib.sha256(np.ascontiguousarray(parameters, dtype="<f4").data).digest()


def clip_follows(config: RunConfiguration) -> bool:
    """Whether the clip is the coordinator's to adapt, so that it rides along with the parameters, as their last."""
    return config.distributed is not None and config.distributed.clip_quantile is not None


def split_clip(vector: NDArray[np.float32], config: RunConfiguration) -> tuple[NDArray[np.float32], float]:
    """What came along, as the model's parameters and the round's clip.

    Raises:
        WrongParameters: the clip is no number that a clip may be.
    """
    if not clip_follows(config):
        return vector, config.max_grad_norm
    clip = float(vector[-1])
    if not CLIPS[0] <= clip <= CLIPS[1]:
        raise WrongParameters("The clip that came along with a round's parameters is none.")
    return vector[:-1], clip
