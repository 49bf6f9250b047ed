"""Complete a requested run's configuration with the defaults of its family's recipe."""

import secrets
from dataclasses import fields, replace

from sottovoce.errors import ConfigurationError
from sottovoce.models import discovery
from sottovoce.models.initialisation import default_init, initial_parameters
from sottovoce.models.interfaces import TrainingRecipe
from sottovoce.models.trainable import trainable_mask
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.calibration import with_least_noise
from sottovoce.run.configuration import (
    NONE,
    BandedFactorisation,
    DistributedNoise,
    Optimisation,
    RunConfiguration,
    Terms,
    Unit,
)
from sottovoce.run.records import parameters_digest
from sottovoce.run.request import RunRequest

DISTRIBUTED_RING_BITS = 32
"""Size of a masked number with distributed noise, in bits; smaller ones make the integer grid coarser."""
_UNKNOWN = "0" * 64  # until the parameters are drawn, which needs the rest of the configuration
COEFFICIENT_BITS = 6
"""Size of a banded factorisation's first coefficient, in bits."""


def configure_run(request: RunRequest, *, classes: tuple[str, ...], labels: int) -> RunConfiguration:
    """The configuration that a coordinator announces.

    Args:
        request: the request; noise is distributed if it sets `min_honest`, otherwise local.
        classes: the agreed styles.
        labels: number of labels in the federation.

    Raises:
        ConfigurationError: the task or family is unknown, the family does not support distributed noise, a value is out
            of range, or the start does not exist.
        ReleaseError: the release to start from is invalid.
    """
    of_labels, distributed = request.unit is Unit.LABEL, request.min_honest is not None
    family = discovery.family(request.task, request.family)
    if distributed and not family.distributed_noise:
        raise ConfigurationError(
            f"The family '{request.family}' does not support distributed noise.",
            hint="Use noise 'local'.",
        )
    init = default_init(request.task, request.family) if request.init is None else request.init
    recipe = (family.recipe if init == NONE else family.fine_tuning_recipe)(
        private=request.private and not of_labels, distributed=distributed and not of_labels
    )
    recipe = replace(
        recipe,
        rounds=request.rounds or recipe.rounds,
        max_grad_norm=recipe.update_clip if of_labels else recipe.max_grad_norm,
        ring_bits=request.ring_bits or (DISTRIBUTED_RING_BITS if distributed else recipe.ring_bits),
    )
    config = RunConfiguration(
        **{field.name: getattr(recipe, field.name) for field in fields(Optimisation)},
        **{field.name: getattr(request, field.name) for field in fields(Terms)},
        classes=classes,
        feature_spec=discovery.spec_of(request.task, request.family).digest,
        first_parameters=_UNKNOWN,
        distributed=_distributed_noise(request, recipe) if distributed else None,
        seed=secrets.randbits(31) if request.seed is None else request.seed,
    )
    config = config.changed(first_parameters=parameters_digest(initial_parameters(config, init)).hex())
    return with_least_noise(config, int(trainable_mask(config).sum()), labels) if distributed else config


def _distributed_noise(request: RunRequest, recipe: TrainingRecipe) -> DistributedNoise:
    banded = None
    if (separation := request.min_separation) is not None:
        bands = request.bands or min(separation, recipe.rounds)
        banded = BandedFactorisation(
            separation, BandedToeplitz.optimal(recipe.rounds, bands, COEFFICIENT_BITS).coefficients
        )
    return DistributedNoise(
        min_honest=request.min_honest or 1,
        noise_multiplier=1.0,  # calibrated once everything else is known
        sample_rate=1.0 if banded or request.unit is Unit.LABEL else request.sample_rate or recipe.sample_rate,
        clip_quantile=request.clip_quantile,
        banded=banded,
    )
