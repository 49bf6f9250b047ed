"""Poisson sampling of units for a training step, at rates that never exceed those accounted for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import PrivacyError
from sottovoce.privacy.calibration import CLASS_RATE_CAP
from sottovoce.privacy.class_balance import class_rates, class_weights
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Balance, RunConfiguration
from sottovoce_client.data.dataset import TrackDataset


@dataclass(frozen=True)
class UnitSampler:
    """Samples each unit independently with its own probability, and one random track of each sampled unit.

    Args:
        rates: probability of each unit, `[units]`.
        order: track indices, unit by unit, `[tracks]`.
        starts: index in `order` at which each unit begins, `[units]`.
        sizes: number of tracks of each unit, `[units]`.
    """

    rates: NDArray[np.float64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, dataset: TrackDataset, rates: NDArray[np.float64]) -> "UnitSampler":
        """A sampler for a data set's units with these rates, `[units]`."""
        sizes = np.bincount(dataset.unit_of, minlength=len(rates)).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        return cls(rates, np.argsort(dataset.unit_of, kind="stable"), starts, sizes)

    def draw(self, randomness: Randomness) -> NDArray[np.int64]:
        """Track indices of one step, at most one per unit; may be empty."""
        units = np.flatnonzero(randomness.bernoulli(self.rates))
        within = randomness.integers(self.sizes[units], len(units))
        return self.order.take(self.starts[units] + within)


def unit_rates(
    dataset: TrackDataset, config: RunConfiguration, plan: PrivacyPlan | None, histogram: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Sampling probability of each unit, `[units]`.

    Args:
        dataset: the label's training tracks.
        config: the run's configuration.
        plan: the label's plan, or None for a run without privacy.
        histogram: units per class, `[classes]`, noisy in a private run; for a run that balances classes.

    Raises:
        PrivacyError: a rate would exceed what the plan accounts for, or the run balances without a histogram.
    """
    base_rate = plan.base_rate if plan else min(1.0, config.batch_size / max(1, dataset.units))
    largest = plan.sample_rate if plan else min(1.0, CLASS_RATE_CAP * base_rate)
    rates = np.full(dataset.units, base_rate)
    if config.balance is Balance.SAMPLING:
        by_class = class_rates(_needed(histogram), _noise(plan), base_rate=base_rate, largest=largest)
        rates = by_class[dataset.unit_classes()]
    if not (rates <= largest).all():
        raise PrivacyError("A unit would be sampled more often than its privacy plan accounts for.")
    return rates


def loss_weights(
    config: RunConfiguration, plan: PrivacyPlan | None, histogram: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Weight of each class in the loss, `[classes]`; applied before clipping, so influence stays bounded.

    Raises:
        PrivacyError: the run balances by loss, but there is no histogram.
    """
    if config.balance is not Balance.LOSS:
        return np.ones(len(config.classes))
    return class_weights(_needed(histogram), _noise(plan))


def _needed(histogram: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if histogram is None:
        raise PrivacyError("A run that balances classes needs the label's class histogram, which is accounted for.")
    return histogram


def _noise(plan: PrivacyPlan | None) -> float:
    return (plan.histogram_noise or 0.0) if plan else 0.0
