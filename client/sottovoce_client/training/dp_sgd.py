"""A label's training in a round: a few steps of DP-SGD (Abadi et al., CCS 2016) on its own tracks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.sgd import sgd

from sottovoce.errors import ConfigurationError, Diverged, PrivacyError
from sottovoce.models import parameters as flat
from sottovoce.models.interfaces import Batch, trainable
from sottovoce_client.training.poisson_sampling import UnitSampler, loss_weights, unit_rates
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_client.training.unit_gradients import UnitGradients

PLAIN: dict[str, Any] = {"weight_decay": 0.0, "dampening": 0.0, "nesterov": False, "maximize": False}


def train(inputs: RoundInputs) -> NDArray[np.float32]:
    """One round's update, new minus old parameters, restricted to those that the run trains: `[trained]`.

    Each of `config.local_steps` steps samples units, clips each unit's gradient, adds noise to the sum, and divides by
    the *configured* batch size, because the number of units drawn, or even owned, is private. A label that owns fewer
    units than a batch thus takes smaller steps. A step that draws no unit is a step of noise alone.

    Raises:
        PrivacyError: the plan belongs to another run, is missing, or accounts for less than would be done.
        Diverged: a parameter is not finite, or, in a run without privacy, a gradient is not. With privacy this follows
            from the noised sums alone and so reveals nothing more than they do.
        ConfigurationError: the parameters do not fit the model, or the features are not those of the run.
    """
    check_plan(inputs)
    return local_update(inputs)


def local_update(inputs: RoundInputs) -> NDArray[np.float32]:
    """`train` without checking the plan, for callers that have checked it; without a plan nothing is clipped or noised.

    Raises:
        Diverged: as for `train`.
        ConfigurationError: the parameters do not fit the model.
    """
    config, plan, randomness = inputs.config, inputs.plan, inputs.randomness
    model = inputs.model()
    gradients = UnitGradients(inputs.family, model, plan.max_grad_norm if plan else None, config.trainable)
    sampler = UnitSampler.of(inputs.dataset, unit_rates(inputs.dataset, config, plan, inputs.histogram))
    weights = torch.from_numpy(loss_weights(config, plan, inputs.histogram))
    values: list[Tensor] = list(trainable(model).values())
    velocities: list[Tensor | None] = [None] * len(values)
    for _ in range(config.local_steps):
        total = _gradient_sum(inputs, gradients, sampler.draw(randomness), weights)
        if plan:
            total[gradients.private] += randomness.gaussian((int(gradients.private.sum()),), plan.noise_std)
        parts = torch.split(total / config.batch_size, [value.numel() for value in values])
        step = [part.view_as(value) for value, part in zip(values, parts, strict=True)]
        with torch.no_grad():  # the function, since constructing an `SGD` loads torch's compiler, once per message
            sgd(values, step, velocities, lr=config.learning_rate, momentum=config.momentum, **PLAIN)
        inputs.family.after_step(model, randomness)
    update = flat.flatten(model) - inputs.parameters[gradients.moved]
    if not np.isfinite(update).all():
        raise Diverged("The trained parameters are not finite.", hint="Lower the learning rate.")
    return update


def _gradient_sum(inputs: RoundInputs, gradients: UnitGradients, tracks: NDArray[np.int64], weights: Tensor) -> Tensor:
    """The sum of the sampled units' (clipped) gradients, `[P]`, computed in parts to bound memory."""
    total = torch.zeros(gradients.size)
    generator = inputs.randomness.torch_generator()
    for batch, sampled in batches(inputs, gradients, tracks):
        total += gradients.sum(batch, weights[batch.targets] * sampled, generator)
    return total


def batches(inputs: RoundInputs, gradients: UnitGradients, tracks: NDArray[np.int64]) -> Iterator[tuple[Batch, Tensor]]:
    """The sampled tracks and random ones as padding, in batches whose gradients fit in memory.

    The rows' order is random. A row's last bits may depend on its place, and a crafted model could turn them into
    another gradient: one track more then takes a padding row's place, and no other track's place changes.

    Yields:
        A batch, and which of its rows were sampled: 1 or 0 for padding, `[rows]`.
    """
    dataset, randomness = inputs.dataset, inputs.randomness
    sampled = np.ones(len(tracks), dtype=np.float32)
    if size := inputs.plan.padded_batch if inputs.plan else 0:
        # The time of a step does not depend on its sample; see `sottovoce.privacy.padding`.
        rows = size * max(1, -(-len(tracks) // size))
        order, padding = randomness.permutation(rows), rows - len(tracks)
        tracks = np.concatenate([tracks, dataset.random_tracks(padding, randomness)])[order]
        sampled = np.pad(sampled, (0, padding))[order]
    segments_per_track = inputs.config.segments_per_track
    at_once = gradients.units_at_once(segments_per_track)
    for start in range(0, len(tracks), at_once):
        part = slice(start, start + at_once)
        yield dataset.batch(tracks[part], segments_per_track, randomness), torch.from_numpy(sampled[part])


def check_plan(inputs: RoundInputs) -> None:
    """Refuse training that was not agreed on or not accounted for.

    Raises:
        PrivacyError: the plan belongs to another run, is missing, or accounts for less than would be done.
        ConfigurationError: the features are not those of the run.
    """
    config, plan = inputs.config, inputs.plan
    if inputs.dataset.spec.digest != config.feature_spec:
        raise ConfigurationError("The features do not match the run's feature spec.")
    if config.private != (plan is not None):
        raise PrivacyError("A private run needs a privacy plan, and a run without privacy must not have one.")
    if plan and (plan.unit is not config.unit or plan.max_grad_norm != config.max_grad_norm):
        raise PrivacyError("The label's privacy plan was made for another run.")
    if plan and plan.trust is not config.trust:
        raise PrivacyError("The label's privacy plan was made for a run with other noise.")
    if plan and plan.steps < config.steps_per_round:
        raise PrivacyError("A round would take more steps than the label's privacy plan accounts for.")
