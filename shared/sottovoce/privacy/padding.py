"""Fixed number of units that each step computes, so that its time does not reveal how many were sampled.

The size of a Poisson sample is random and private; anyone who times a label's answers would learn it. Each step
therefore computes a fixed number of units; those not sampled have weight zero. Nothing is truncated: a larger sample
takes a multiple of the time, and the number is so large that this hardly ever happens.
"""

import math

import numpy as np
from scipy.special import betainc

from sottovoce.run.configuration import RunConfiguration, Unit

GROWTH = 1.25
"""Largest ratio of true and declared number of units for which time reveals nothing."""
OVERFLOW_SHARE = 0.01
"""Largest probability that any step of a run takes longer than the others, as a share of δ."""


def padded_batch(config: RunConfiguration, units: int, delta: float) -> int:
    """The number M of units that each step computes: the smallest with steps · P(sample ≥ M) ≤ `OVERFLOW_SHARE` · δ.

    Args:
        config: the run's configuration.
        units: declared number of units.
        delta: δ of the label's promise.

    Returns:
        M, or 0 for no padding if the unit is the label.
    """
    if config.unit is Unit.LABEL:
        return 0
    most = math.ceil(GROWTH * units)
    if config.distributed is None:
        rate = min(1.0, config.batch_size / units)
    elif config.distributed.banded is None:
        rate = config.distributed.sample_rate
    else:
        rate = 1 / config.distributed.banded.min_separation
    sizes = np.arange(1, most + 1)
    # P(Binomial(n, q) >= M) is the regularised incomplete beta function of M and n - M + 1 at q.
    rare = betainc(sizes, most - sizes + 1, rate) <= OVERFLOW_SHARE * delta / config.steps
    return int(sizes[rare][0]) if rare.any() else most + 1
