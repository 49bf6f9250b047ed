"""From what a person asks for to a run's whole configuration: each family's recipe fills in what nobody named."""

import secrets

from sottovoce.errors import ConfigurationError
from sottovoce.models import discovery
from sottovoce.models.initialisation import default_init
from sottovoce.models.interfaces import Recipe
from sottovoce.models.trainable import trained
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.calibration import with_least_noise
from sottovoce.run.configuration import NONE, Balance, SharedNoise, Stream, TrainingConfig, Unit

HOLDOUT = 0.2
EPSILON = 8.0
DELTA = 1e-5
SHARED_RING_BITS = 32
"""Whole numbers with room for a sum and its noise; on a smaller ring the grid is coarser, or does not fit."""
COEFFICIENT_BITS = 6


def configured(
    *,
    task: str,
    family: str,
    classes: tuple[str, ...],
    labels: int,
    rounds: int | None = None,
    epsilon: float = EPSILON,
    delta: float = DELTA,
    unit: Unit = Unit.TRACK,
    balance: Balance = Balance.NONE,
    private: bool = True,
    ring_bits: int | None = None,
    honest: int | None = None,
    sample_rate: float | None = None,
    clip_quantile: float | None = None,
    period: int | None = None,
    bands: int | None = None,
    seed: int | None = None,
    init: str | None = None,
) -> TrainingConfig:
    """The configuration that a coordinator announces.

    Args:
        task: what is learnt.
        family: the kind of model.
        classes: the agreed styles.
        labels: how many labels the federation has.
        rounds: aggregations, or None for the family's own number.
        epsilon: each label's ceiling.
        delta: δ of it.
        unit: the unit of privacy.
        balance: how class imbalance is met.
        private: False trains without clipping and noise.
        ring_bits: size of the ring, or None for the family's own.
        honest: how many honest labels in a sum shared noise counts on; None where each label adds all of its noise.
        sample_rate: of shared noise, the rate of each unit in a round, or None for the family's own.
        clip_quantile: of shared noise, which quantile of gradient norms the clip follows; None keeps it fixed.
        period: of shared noise, rounds between two turns of a unit, where they take turns instead of being sampled.
        bands: of such turns, how many rounds' contributions a report is made of; None for `period` at most.
        seed: of the model's first parameters; None draws one.
        init: what the model starts from, as `sottovoce.models.initialisation.first_parameters` takes it.

    Raises:
        ConfigurationError: the task or family is unknown, its labels cannot share noise, or a value is out of range.
    """
    of_labels, shared = unit is Unit.LABEL, honest is not None
    chosen = discovery.family(task, family)
    if shared and not chosen.shared_noise:
        raise ConfigurationError(
            f"Labels that train a '{family}' cannot share noise: each must add all of its own.",
            hint="Use noise 'local'.",
        )
    drawn = (default_init(task, family) if init is None else init) == NONE
    defaults = chosen.recipe if drawn else chosen.started
    recipe = defaults(private=private and not of_labels, shared=shared and not of_labels)
    count = recipe.rounds if rounds is None else rounds
    config = TrainingConfig(
        task=task,
        family=family,
        classes=classes,
        feature_spec=discovery.spec_of(task, family).digest,
        rounds=count,
        local_steps=recipe.local_steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        momentum=recipe.momentum,
        max_grad_norm=recipe.update_clip if of_labels else recipe.max_grad_norm,
        private=private,
        epsilon=epsilon,
        delta=delta,
        unit=unit,
        shared=None
        if honest is None
        else _shared(recipe, count, honest, sample_rate, clip_quantile, period, bands, of_labels=of_labels),
        balance=balance,
        segments_per_track=recipe.segments_per_track,
        update_clip=recipe.update_clip,
        ring_bits=ring_bits or (SHARED_RING_BITS if shared else recipe.ring_bits),
        server_optimizer=recipe.server_optimizer,
        server_learning_rate=recipe.server_learning_rate,
        holdout=HOLDOUT,
        seed=secrets.randbits(31) if seed is None else seed,
        trained=recipe.trained,
    )
    return with_least_noise(config, int(trained(config).sum()), labels) if shared else config


def _shared(
    recipe: Recipe,
    rounds: int,
    honest: int,
    sample_rate: float | None,
    clip_quantile: float | None,
    period: int | None,
    bands: int | None,
    *,
    of_labels: bool,
) -> SharedNoise:
    stream = None
    if period is not None:
        bands = min(period, rounds) if bands is None else bands
        stream = Stream(period, BandedToeplitz.optimal(rounds, bands, COEFFICIENT_BITS).coefficients)
    rate = recipe.sample_rate if sample_rate is None else sample_rate
    return SharedNoise(
        honest=honest,
        noise_multiplier=1.0,  # found when all else is known
        sample_rate=1.0 if stream or of_labels else rate,
        clip_quantile=clip_quantile,
        stream=stream,
    )
