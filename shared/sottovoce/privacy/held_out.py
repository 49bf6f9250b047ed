"""Noise on counts over held-out tracks: how much a run's evaluations need, and what they cost.

A unit adds integers of bounded squared norm (`Task.norm_squared`) to an evaluation's counters, once. Every counter gets
discrete Gaussian noise of the same variance, which follows from the run's ε, δ and number of evaluations, and from no
catalogue.
"""

import math
from dataclasses import dataclass

from sottovoce.privacy.calibration import AIM, single_noise
from sottovoce.privacy.discrete_gaussian_sum import LEAST_VARIANCE, SMOOTHING
from sottovoce.privacy.events import HeldOutCounts
from sottovoce.run.configuration import RunConfiguration

COUNTER_OFFSET = 1 << 38
"""Offset that labels add to each counter, since masked counters cannot be negative but noise can."""
LARGEST_COUNT = 1 << 37
"""Largest magnitude of a label's noised counter; larger ones are clamped."""


@dataclass(frozen=True)
class CounterShape:
    """The counters of an evaluation.

    Args:
        norm_squared: largest squared L2 norm of what one unit adds.
        dimension: number of counters.
    """

    norm_squared: int
    dimension: int


def held_out_counts(
    config: RunConfiguration, shape: CounterShape, *, epsilon: float, delta: float
) -> HeldOutCounts | None:
    """All evaluations of a run, with the least noise that keeps (ε, δ); None without evaluations or without privacy."""
    if not config.private or not config.evaluated:
        return None
    count, honest = len(config.evaluated), config.distributed.min_honest if config.distributed else 1
    noise_multiplier = single_noise(AIM * epsilon, delta) * math.sqrt(count)
    variance = (noise_multiplier**2 * shape.norm_squared + SMOOTHING) / honest
    return HeldOutCounts(max(variance, LEAST_VARIANCE), shape.norm_squared, honest, shape.dimension, count)
