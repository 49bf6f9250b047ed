"""Names under which a masked-round message is stored in a Flower message, for both sides.

Plain values only: this module does not import Flower.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sottovoce.protocol.encoding import Bytes
from sottovoce.run.configuration import RunConfiguration

RECORD = "sottovoce"
FRAME = "frame"
PARAMETERS = "arrays"
SUMS = "sums"
ADVERT = "advert"
ROUNDS = "rounds"


class Action(StrEnum):
    """Flower's message type for each exchange."""

    ANNOUNCE = "query.announce"
    ROSTER = "query.roster"
    NONCES = "query.nonces"
    PAIRING = "query.pairing"
    PREPARE = "query.prepare"
    TRAIN = "train.report"
    EVALUATE = "evaluate.report"
    CROSS_CHECK = "query.cross_check"
    UNMASK = "query.unmask"
    OVER = "query.over"
    COSIGN = "query.cosign"


@dataclass(frozen=True)
class OwnWords:
    """What a label said in its latest earlier run, sent back to it with an announcement.

    Args:
        advert: its advert, encoded: it carries the label's own signature.
        rounds: rounds whose sums include its reports, ascending; the coordinator's word.
    """

    advert: bytes = field(repr=False)
    rounds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Carried:
    """Data sent along with an announcement, a report request or the end of a run.

    Args:
        first: the run's initial parameters, `[P]`, for a label without any; else None.
        sums: `RoundSum.to_bytes` of rounds, by number.
        own: with an announcement, what the label said in its latest earlier run; None if the coordinator knows nothing.
    """

    first: NDArray[np.float32] | None = None
    sums: Mapping[int, Bytes] = field(default_factory=dict, repr=False)
    own: OwnWords | None = None


def parameters_digest(parameters: NDArray[np.float32], clip: float | None = None) -> bytes:
    """SHA-256 (32 bytes) of parameters as little-endian float32; a clip follows as little-endian float64."""
    hasher = hashlib.sha256(np.ascontiguousarray(parameters, dtype="<f4").data)
    if clip is not None:
        hasher.update(struct.pack("<d", clip))
    return hasher.digest()


def clip_follows(config: RunConfiguration) -> bool:
    """Whether the clip follows a quantile, so that each sum's last coordinate is a count."""
    return config.distributed is not None and config.distributed.clip_quantile is not None
