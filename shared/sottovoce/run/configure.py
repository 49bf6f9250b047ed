"""From what a person asks for to a run's whole configuration: each family's recipe fills in what nobody named."""

import secrets

from sottovoce.errors import ConfigurationError
from sottovoce.models import discovery
from sottovoce.models.initialisation import default_init
from sottovoce.models.interfaces import TrainingRecipe
from sottovoce.models.trainable import trainable_mask
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.calibration import with_least_noise
from sottovoce.run.configuration import NONE, Balance, BandedFactorisation, DistributedNoise, RunConfiguration, Unit

HOLDOUT = 0.2
EPSILON = 8.0
DELTA = 1e-5
DISTRIBUTED_RING_BITS = 32
"""Whole numbers with room for a sum and its noise; on a smaller ring the grid is coarser, or does not fit."""
COEFFICIENT_BITS = 6


def configure_run(
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
    min_honest: int | None = None,
    sample_rate: float | None = None,
    clip_quantile: float | None = None,
    min_separation: int | None = None,
    bands: int | None = None,
    seed: int | None = None,
    init: str | None = None,
) -> RunConfiguration:
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
        min_honest: the number of honest labels in a sum that distributed noise assumes; None with local noise.
        sample_rate: of distributed noise, the rate of each unit in a round, or None for the family's own.
        clip_quantile: of distributed noise, which quantile of gradient norms the clip follows; None keeps it fixed.
        min_separation: of distributed noise, rounds between two participations of a unit (banded matrix factorisation).
        bands: rounds that share correlated noise; None for as many as `min_separation`.
        seed: of the model's first parameters; None draws one.
        init: what the model starts from, as `sottovoce.models.initialisation.first_parameters` takes it.

    Raises:
        ConfigurationError: the task or family is unknown, its labels cannot share noise, or a value is out of range.
    """
    of_labels, distributed = unit is Unit.LABEL, min_honest is not None
    chosen = discovery.family(task, family)
    if distributed and not chosen.distributed_noise:
        raise ConfigurationError(
            f"Labels that train a '{family}' cannot share noise: each must add all of its own.",
            hint="Use noise 'local'.",
        )
    drawn = (default_init(task, family) if init is None else init) == NONE
    defaults = chosen.recipe if drawn else chosen.fine_tuning_recipe
    recipe = defaults(private=private and not of_labels, distributed=distributed and not of_labels)
    count = recipe.rounds if rounds is None else rounds
    config = RunConfiguration(
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
        distributed=None
        if min_honest is None
        else _shared(recipe, count, min_honest, sample_rate, clip_quantile, min_separation, bands, of_labels=of_labels),
        balance=balance,
        segments_per_track=recipe.segments_per_track,
        update_clip=recipe.update_clip,
        ring_bits=ring_bits or (DISTRIBUTED_RING_BITS if distributed else recipe.ring_bits),
        server_optimizer=recipe.server_optimizer,
        server_learning_rate=recipe.server_learning_rate,
        holdout=HOLDOUT,
        seed=secrets.randbits(31) if seed is None else seed,
        trainable=recipe.trainable,
    )
    return with_least_noise(config, int(trainable_mask(config).sum()), labels) if distributed else config


def _shared(
    recipe: TrainingRecipe,
    rounds: int,
    min_honest: int,
    sample_rate: float | None,
    clip_quantile: float | None,
    min_separation: int | None,
    bands: int | None,
    *,
    of_labels: bool,
) -> DistributedNoise:
    banded = None
    if min_separation is not None:
        bands = min(min_separation, rounds) if bands is None else bands
        banded = BandedFactorisation(
            min_separation, BandedToeplitz.optimal(rounds, bands, COEFFICIENT_BITS).coefficients
        )
    rate = recipe.sample_rate if sample_rate is None else sample_rate
    return DistributedNoise(
        min_honest=min_honest,
        noise_multiplier=1.0,  # found when all else is known
        sample_rate=1.0 if banded or of_labels else rate,
        clip_quantile=clip_quantile,
        banded=banded,
    )
