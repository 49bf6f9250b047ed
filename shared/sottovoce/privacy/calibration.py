"""Noise calibration: the least noise that keeps a guarantee (ε, δ) for a catalogue's size."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from sottovoce.errors import ConfigurationError, PrivacyError
from sottovoce.privacy.accountant import check_delta, epsilon_rdp
from sottovoce.privacy.accountant import epsilon as epsilon_of
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.events import Event, Gaussian, PoissonGaussian
from sottovoce.privacy.padding import padded_batch
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.run.configuration import Balance, RunConfiguration

AIM = 0.995
"""Share of the ceiling that the search aims at, so that its result lies below the ceiling and within 1 % of it."""
PRECISION = 1e-3
"""Relative width at which the search for a noise multiplier ends."""
LARGEST_NOISE = 1e6
LEAST_NOISE = 1e-2
HISTOGRAM_SHARE = 0.04
"""Class histogram's part of the budget, in squared signal-to-noise; training then needs about 2 % more noise."""
CLASS_RATE_CAP = 2.0
"""Largest ratio of a class's sampling rate to the base rate in class-aware sampling, as accounted for."""


def plan_for(
    config: RunConfiguration,
    units: int,
    *,
    mechanism: DistributedDiscreteGaussian | None = None,
    epsilon: float | None = None,
    delta: float | None = None,
) -> PrivacyPlan:
    """The plan with the least noise under which `units` units may be trained on as `config` says.

    Distributed noise is fixed by the run and equal for all labels: then the plan states its cost, within the ceiling.

    Args:
        config: the run's configuration.
        units: number of units (tracks or artists) that the label trains on; with the unit `label`, the number of
            labels.
        mechanism: the run's mechanism, if noise is distributed.
        epsilon: a lower ceiling than the run's, set by the label's policy.
        delta: a lower δ than the run's, likewise.

    Raises:
        ConfigurationError: the run is not private, or there is nothing to train on.
        PrivacyError: δ is too large for this number of units, or no amount of noise keeps the guarantee.
    """
    if not config.private:
        raise ConfigurationError("A run without privacy has no privacy plan.")
    if units < 1:
        raise ConfigurationError("There are no units to train on.")
    ceiling = min(config.epsilon, math.inf if epsilon is None else epsilon)
    delta = min(config.delta, math.inf if delta is None else delta)
    check_delta(delta, units)
    distributed = config.distributed
    if (distributed is None) != (mechanism is None):
        raise ConfigurationError(
            "A plan needs the run's mechanism if noise is distributed, and must not have one otherwise."
        )
    base_rate = distributed.sample_rate if distributed else min(1.0, config.batch_size / units)
    sample_rate, others, histogram_noise = _beside(config, base_rate, ceiling, delta)
    if distributed and mechanism:
        noise_multiplier = distributed.noise_multiplier
        spent = epsilon_of((*others, mechanism.event(distributed.min_honest, sample_rate, config.steps)), delta)
        if spent > ceiling:
            raise PrivacyError(f"The run's distributed noise costs ε = {spent:.4g}, above the ceiling of {ceiling:g}.")
    else:
        noise_multiplier, spent = _least_noise(sample_rate, config.steps, others, ceiling, delta)
    return PrivacyPlan(
        unit=config.unit,
        trust=config.trust,
        base_rate=base_rate,
        sample_rate=sample_rate,
        noise_multiplier=noise_multiplier,
        max_grad_norm=config.max_grad_norm,
        steps=config.steps,
        histogram_noise=histogram_noise,
        epsilon=spent,
        delta=delta,
        epsilon_ceiling=ceiling,
        min_honest=distributed.min_honest if distributed else 1,
        mechanism=mechanism,
        padded_batch=padded_batch(config, units, delta),
    )


def with_more_noise(plan: PrivacyPlan, least: float) -> PrivacyPlan:
    """The plan with a noise multiplier of at least `least`, and its cost. For noise that a label adds itself."""
    if plan.noise_multiplier >= least:
        return plan
    noisier = replace(plan, noise_multiplier=least)
    return replace(noisier, epsilon=epsilon_of(noisier.events(), plan.delta))


def with_least_noise(config: RunConfiguration, parameters: int, labels: int) -> RunConfiguration:
    """A run with the least distributed noise that keeps its (ε, δ), independent of any catalogue.

    Args:
        config: a run with distributed noise, whose multiplier is replaced.
        parameters: P, number of model parameters.
        labels: number of labels in the federation.

    Raises:
        ConfigurationError: noise is not distributed, or no grid fits the ring.
        PrivacyError: no amount of noise keeps the guarantee.
    """
    if config.distributed is None:
        raise ConfigurationError("Only distributed noise is set by the run; with local noise each label plans its own.")
    rate, others, _ = _beside(config, config.distributed.sample_rate, config.epsilon, config.delta)
    noise_multiplier, _ = _least_noise(rate, config.steps, others, config.epsilon, config.delta)
    while True:
        changed = config.changed(distributed=replace(config.distributed, noise_multiplier=noise_multiplier))
        mechanism = DistributedDiscreteGaussian.of(changed, parameters, labels)
        event = mechanism.event(config.distributed.min_honest, rate, config.steps)
        if epsilon_of((*others, event), config.delta) <= config.epsilon:
            return changed
        noise_multiplier *= 1 + PRECISION  # the proof for integers loses a little of their variance


def _beside(
    config: RunConfiguration, base_rate: float, ceiling: float, delta: float
) -> tuple[float, tuple[Event, ...], float | None]:
    """Rate and other events to account for, and the noise of the class histogram, if there is one."""
    sample_rate = min(1.0, CLASS_RATE_CAP * base_rate) if config.balance is Balance.SAMPLING else base_rate
    if config.balance is Balance.NONE:
        return sample_rate, (), None
    noise = _histogram_noise(ceiling, delta)
    return sample_rate, (Gaussian(noise),), noise


def gaussian_delta(epsilon: float, noise_multiplier: float) -> float:
    """δ of one Gaussian mechanism at ε, exactly (Balle & Wang, ICML 2018, theorem 8)."""
    half, ratio = 0.5 / noise_multiplier, epsilon * noise_multiplier
    return float(ndtr(half - ratio) - math.exp(epsilon + log_ndtr(-half - ratio)))


@lru_cache(maxsize=256)
def single_noise(epsilon: float, delta: float) -> float:
    """The noise multiplier at which one Gaussian mechanism costs (ε, δ)."""
    return math.exp(
        brentq(
            lambda log_noise: gaussian_delta(epsilon, math.exp(log_noise)) - delta,
            math.log(LEAST_NOISE),
            math.log(LARGEST_NOISE),
        )
    )


def _histogram_noise(ceiling: float, delta: float) -> float:
    """Noise multiplier that gives the histogram its share of what one Gaussian mechanism could spend."""
    return single_noise(ceiling, delta) / math.sqrt(HISTOGRAM_SHARE)


@lru_cache(maxsize=256)
def _least_noise(
    sample_rate: float, steps: int, others: tuple[Event, ...], ceiling: float, delta: float
) -> tuple[float, float]:
    """The smallest noise multiplier that keeps the whole run within the ceiling, and its cost."""

    def run(log_noise: float) -> tuple[Event, ...]:
        return (*others, PoissonGaussian(sample_rate, math.exp(log_noise), steps))

    def root(cost: Callable[[tuple[Event, ...], float], float], low: float, high: float) -> float:
        return float(
            brentq(lambda x: math.log(max(cost(run(x), delta), 1e-12) / (AIM * ceiling)), low, high, xtol=PRECISION)
        )

    low, high = math.log(LEAST_NOISE), math.log(LARGEST_NOISE)
    # With every unit in every step: what the coordinator learns must not depend on the number of units.
    if epsilon_rdp((*others, PoissonGaussian(1.0, LARGEST_NOISE, steps)), delta) > AIM * ceiling:
        raise PrivacyError(
            f"No amount of noise keeps ε = {ceiling:g} at δ = {delta:g}.",
            hint="Allow a larger ε, or plan fewer rounds.",
        )
    # RDP is fast and never below PLD: its noise is sufficient, and PLD needs slightly less.
    high = root(epsilon_rdp, low, high)
    width = 0.1
    while epsilon_of(run(high - width), delta) <= ceiling:
        width *= 2
    found = root(epsilon_of, high - width, high)
    while (spent := epsilon_of(run(found), delta)) > ceiling:
        found += PRECISION
    return math.exp(found), spent
