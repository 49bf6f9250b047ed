"""A label's part of a round with distributed noise: integers that include its share of the noise.

Each round is one accounted step. The label rounds each sampled unit's clipped gradient to the run's grid, adds them up,
cuts the sum at the ring's bounds, and adds discrete Gaussian noise. Where the unit is the label, its only vector is the
whole update. The sum over all labels carries at least the noise that one pooled data set would have needed.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from sottovoce.errors import Diverged, PrivacyError
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.discrete_gaussian import sample
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import BandedFactorisation, Unit
from sottovoce_client.training.dp_sgd import batches, check_plan, local_update
from sottovoce_client.training.poisson_sampling import UnitSampler, loss_weights, unit_rates
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_client.training.unit_gradients import ROUNDING, UnitGradients


def clipped_sum(inputs: RoundInputs, signs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The sum of the units' clipped vectors on the grid, **without noise**: only `add_noise` may see it.

    Args:
        inputs: inputs of the round. With banded matrix factorisation, its number selects the subset of units.
        signs: signs of the round's rotation, `[P]`.

    Returns:
        `[plan.mechanism.dimension]`.

    Raises:
        PrivacyError: the plan belongs to another run.
        ConfigurationError: the parameters do not fit the model, or the features are not those of the run.
    """
    check_plan(inputs)
    config, plan, clip, randomness = inputs.config, inputs.plan, inputs.clip_norm, inputs.randomness
    mechanism = _mechanism(plan)
    if config.unit is Unit.LABEL:
        update = _whole_update(inputs, mechanism.parameters)
        norm = float(np.linalg.norm(update.astype(np.float64)))
        shortened = (update * np.float32(min(1.0, clip / (norm + ROUNDING)) / clip)).astype(np.float32)
        total = mechanism.integers(shortened.reshape(1, -1), signs, randomness)
        return mechanism.cut(_with_count(total, mechanism, np.array([norm], np.float32), clip))
    gradients = UnitGradients(inputs.family, inputs.model(), clip, config.trainable)
    sampler = UnitSampler.of(inputs.dataset, _rates(inputs))
    weights = torch.from_numpy(loss_weights(config, plan, inputs.histogram))
    generator = randomness.torch_generator()
    total, norms = np.zeros(mechanism.parameters, np.int64), [np.empty(0, np.float32)]
    for batch, sampled in batches(inputs, gradients, sampler.draw(randomness)):
        rows, lengths = gradients.rows(batch, weights[batch.targets] * sampled, generator)
        total += mechanism.integers((rows / clip).numpy(), signs, randomness)
        norms.append(lengths[sampled > 0].numpy())
    return mechanism.cut(_with_count(total, mechanism, np.concatenate(norms), clip))


def add_noise(sums: Sequence[NDArray[np.int64]], plan: PrivacyPlan, randomness: Randomness) -> NDArray[np.int64]:
    """The noised vector that the label masks and sends: the newest sum plus discrete Gaussian noise.

    With banded matrix factorisation it is the weighted sum of the last rounds' sums, plus noise.

    Args:
        sums: results of `clipped_sum`, oldest first; at least one.
        plan: the label's plan.
        randomness: source of the noise.
    """
    mechanism = _mechanism(plan)
    row = BandedToeplitz(mechanism.coefficients).encode(sums)
    return row + sample(randomness, mechanism.variance, row.size)


def _mechanism(plan: PrivacyPlan | None) -> DistributedDiscreteGaussian:
    if plan is None or plan.mechanism is None:
        raise PrivacyError("Only a run with distributed noise sums integers.")
    return plan.mechanism


def _with_count(
    total: NDArray[np.int64], mechanism: DistributedDiscreteGaussian, norms: NDArray[np.float32], clip: float
) -> NDArray[np.int64]:
    if mechanism.quantile is None:
        return total
    return np.append(total, np.int64(mechanism.count_of(norms, clip)))


def _rates(inputs: RoundInputs) -> NDArray[np.float64]:
    """Sampling probability of each unit in this round, `[units]`; 1 or 0 with banded matrix factorisation."""
    banded: BandedFactorisation | None = inputs.config.distributed.banded if inputs.config.distributed else None
    if banded is None:
        return unit_rates(inputs.dataset, inputs.config, inputs.plan, inputs.histogram)
    takes_part = inputs.dataset.unit_subset_keys() % banded.min_separation == inputs.number % banded.min_separation
    return np.asarray(takes_part, dtype=np.float64)


def _whole_update(inputs: RoundInputs, size: int) -> NDArray[np.float32]:
    """The label's unclipped, noiseless update, `[size]`: the label is its own unit, so it is clipped as a whole."""
    try:
        return local_update(replace(inputs, plan=None, histogram=None))
    except Diverged:
        return np.zeros(size, np.float32)  # whether a round fails must not reveal what is in it
