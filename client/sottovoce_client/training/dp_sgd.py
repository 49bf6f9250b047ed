"""What a label does in a round: a few steps of DP-SGD (Abadi et al., CCS 2016) on its own tracks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.sgd import sgd

from sottovoce.errors import ConfigurationError, Diverged, PrivacyError
from sottovoce.models import parameters as flat
from sottovoce.models.interfaces import Batch, Family, trainable
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import TrainingConfig
from sottovoce_client.data.dataset import TrackDataset
from sottovoce_client.training.poisson_sampling import UnitSampler, loss_weights, unit_rates
from sottovoce_client.training.unit_gradients import UnitGradients

PLAIN: dict[str, Any] = {"weight_decay": 0.0, "dampening": 0.0, "nesterov": False, "maximize": False}


def train(
    family: Family,
    parameters: NDArray[np.float32],
    dataset: TrackDataset,
    config: TrainingConfig,
    plan: PrivacyPlan | None,
    randomness: Randomness,
    histogram: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """One round's update, new minus old parameters, of those that the run moves: `[trained]`.

    Each of `config.local_steps` steps samples units, clips each unit's gradient, adds noise to the sum, and divides by
    the *configured* batch size: the number of units drawn, or even owned, is private. A label that owns fewer units
    than a batch thus takes smaller steps. A step that draws nobody is a step of noise alone.

    Args:
        family: the kind of model.
        parameters: the global model's, `[P]`.
        dataset: training tracks with the family's view; its units are those of `config.unit`.
        config: of the run.
        plan: the label's, or None for a run without privacy.
        randomness: of sampling, noise and augmentation.
        histogram: units of each class, `[classes]`, noisy in a private run; for a run that balances classes.

    Raises:
        PrivacyError: the plan is not the run's, is missing, or accounts for less than what would be done.
        Diverged: a parameter is not finite, or in a run without privacy a gradient is not. With privacy this follows
            from the noised sums alone, so that it tells nothing that they do not.
        ConfigurationError: the parameters do not fit the model, or the features are not those of the run.
    """
    check_plan(config, plan, dataset)
    return local_update(family, parameters, dataset, config, plan, randomness, histogram)


def local_update(
    family: Family,
    parameters: NDArray[np.float32],
    dataset: TrackDataset,
    config: TrainingConfig,
    plan: PrivacyPlan | None,
    randomness: Randomness,
    histogram: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """`train`, for a caller who answers for the plan: without one, nothing in here is clipped or noised.

    Raises:
        Diverged: as `train` says.
        ConfigurationError: the parameters do not fit the model.
    """
    model = flat.model_of(family, dataset.spec, len(config.classes), parameters)
    gradients = UnitGradients(family, model, plan.max_grad_norm if plan else None, config.trained)
    sampler = UnitSampler.of(dataset, unit_rates(dataset, config, plan, histogram))
    weights = torch.from_numpy(loss_weights(config, plan, histogram))
    wanted: list[Tensor] = list(trainable(model).values())
    velocities: list[Tensor | None] = [None] * len(wanted)
    for _ in range(config.local_steps):
        total = _summed(gradients, dataset, sampler.draw(randomness), config.segments_per_track, weights, randomness)
        if plan:
            total[gradients.private] += randomness.gaussian((int(gradients.private.sum()),), plan.noise_std)
        parts = torch.split(total / config.batch_size, [value.numel() for value in wanted])
        step = [part.view_as(value) for value, part in zip(wanted, parts, strict=True)]
        with torch.no_grad():  # as a function: making an `SGD` loads torch's compiler, for each message anew
            sgd(wanted, step, velocities, lr=config.learning_rate, momentum=config.momentum, **PLAIN)
        family.after_step(model, randomness)
    update = flat.flatten(model) - parameters[gradients.moved]
    if not np.isfinite(update).all():
        raise Diverged("The trained parameters are not finite.", hint="Lower the learning rate.")
    return update


def _summed(
    gradients: UnitGradients,
    dataset: TrackDataset,
    tracks: NDArray[np.int64],
    segments_per_track: int,
    weights: Tensor,
    randomness: Randomness,
) -> Tensor:
    """The units' (clipped) gradients, summed: `[P]`. Parts of a large batch follow one another, to bound memory."""
    total = torch.zeros(gradients.size)
    generator = randomness.torch_generator()
    for batch in batches(gradients, dataset, tracks, segments_per_track, randomness):
        total += gradients.sum(batch, weights[batch.targets], generator)
    return total


def batches(
    gradients: UnitGradients,
    dataset: TrackDataset,
    tracks: NDArray[np.int64],
    segments_per_track: int,
    randomness: Randomness,
) -> Iterator[Batch]:
    """The sampled tracks in parts whose gradients fit in memory."""
    at_once = gradients.units_at_once(segments_per_track)
    for part in np.split(tracks, range(at_once, len(tracks), at_once)):
        if len(part):
            yield dataset.batch(part, segments_per_track, randomness)


def check_plan(config: TrainingConfig, plan: PrivacyPlan | None, dataset: TrackDataset) -> None:
    """Refuse to train otherwise than is agreed and accounted for.

    Raises:
        PrivacyError: the plan is not the run's, is missing, or accounts for less than what would be done.
        ConfigurationError: the features are not those of the run.
    """
    if dataset.spec.digest != config.feature_spec:
        raise ConfigurationError("The features are not those that the run has agreed on.")
    if config.private != (plan is not None):
        raise PrivacyError("A private run needs a privacy plan, and only a private run has one.")
    if plan and (plan.unit is not config.unit or plan.max_grad_norm != config.max_grad_norm):
        raise PrivacyError("The label's privacy plan was made for another run.")
    if plan and plan.trust is not config.trust:
        raise PrivacyError("The label's privacy plan was made for a run with other noise.")
    if plan and plan.steps < config.steps_per_round:
        raise PrivacyError("A round would take more steps than the label's privacy plan accounts for.")
