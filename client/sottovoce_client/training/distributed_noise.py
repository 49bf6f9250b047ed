"""What a label adds to a round with shared noise: whole numbers, with its part of the noise in them.

One accounted step a round: each sampled unit's clipped gradient goes onto the run's grid by itself, the label adds them
up, cuts the sum where the ring ends, and adds discrete Gaussian noise. Where the unit is the label, its one vector is
the whole update. The sum over all labels carries what one data set in one place would have needed, and no less.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sottovoce.errors import Diverged, PrivacyError
from sottovoce.models import parameters as flat
from sottovoce.models.interfaces import Family
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.discrete_gaussian import sample
from sottovoce.privacy.distributed_gaussian import SumGrid
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Stream, TrainingConfig, Unit
from sottovoce_client.data.dataset import TrackDataset
from sottovoce_client.training.dp_sgd import batches, check_plan, local_update
from sottovoce_client.training.poisson_sampling import UnitSampler, loss_weights, unit_rates
from sottovoce_client.training.unit_gradients import ROUNDING, UnitGradients


def clipped_sum(
    family: Family,
    parameters: NDArray[np.float32],
    clip: float,
    dataset: TrackDataset,
    config: TrainingConfig,
    plan: PrivacyPlan,
    signs: NDArray[np.float32],
    round_number: int,
    randomness: Randomness,
    histogram: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """The units' vectors on the grid, added up and cut, **without noise**: for `add_noise`, and for nobody else's eyes.

    Args:
        family: the kind of model.
        parameters: the global model's, `[P]`.
        clip: L2 bound on one unit's vector.
        dataset: training tracks with the family's view; its units are those of `config.unit`.
        config: of the run, with shared noise.
        plan: the label's.
        signs: of the round's rotation, `[P]`.
        round_number: from 1; with banded matrix factorisation it selects the subset of units that takes part.
        randomness: of sampling, rounding and augmentation.
        histogram: units of each class, noisy, `[classes]`; for a run that balances classes.

    Returns:
        `[plan.grid.dimension]`.

    Raises:
        PrivacyError: the plan is not the run's.
        ConfigurationError: the parameters do not fit the model, or the features are not those of the run.
    """
    check_plan(config, plan, dataset)
    grid = _grid(plan)
    if config.unit is Unit.LABEL:
        update = _whole_update(family, parameters, dataset, config, grid.parameters, randomness)
        norm = float(np.linalg.norm(update.astype(np.float64)))
        shortened = (update * np.float32(min(1.0, clip / (norm + ROUNDING)) / clip)).astype(np.float32)
        total = grid.integers(shortened.reshape(1, -1), signs, randomness)
        return grid.cut(_with_count(total, grid, np.array([norm], np.float32), clip))
    model = flat.model_of(family, dataset.spec, len(config.classes), parameters)
    gradients = UnitGradients(family, model, clip, config.trained)
    sampler = UnitSampler.of(dataset, _rates(dataset, config, plan, round_number, histogram))
    weights = torch.from_numpy(loss_weights(config, plan, histogram))
    generator = randomness.torch_generator()
    total, norms = np.zeros(grid.parameters, np.int64), [np.empty(0, np.float32)]
    for batch in batches(gradients, dataset, sampler.draw(randomness), config.segments_per_track, randomness):
        rows, lengths = gradients.rows(batch, weights[batch.targets], generator)
        total += grid.integers((rows / clip).numpy(), signs, randomness)
        norms.append(lengths.numpy())
    return grid.cut(_with_count(total, grid, np.concatenate(norms), clip))


def add_noise(sums: Sequence[NDArray[np.int64]], plan: PrivacyPlan, randomness: Randomness) -> NDArray[np.int64]:
    """The noised vector that the label masks and sends: the newest sum plus discrete Gaussian noise.

    With banded matrix factorisation it is the weighted sum of the last rounds' sums, plus noise.

    Args:
        sums: of `clipped_sum`, the oldest first; at least one.
        plan: the label's.
        randomness: of the noise.
    """
    grid = _grid(plan)
    row = BandedToeplitz(grid.coefficients).encode(sums)
    return row + sample(randomness, grid.variance, row.size)


def _grid(plan: PrivacyPlan) -> SumGrid:
    if plan.grid is None:
        raise PrivacyError("Only a run whose labels share their noise is summed in whole numbers.")
    return plan.grid


def _with_count(total: NDArray[np.int64], grid: SumGrid, norms: NDArray[np.float32], clip: float) -> NDArray[np.int64]:
    if grid.quantile is None:
        return total
    return np.append(total, np.int64(grid.count_of(norms, clip)))


def _rates(
    dataset: TrackDataset,
    config: TrainingConfig,
    plan: PrivacyPlan,
    round_number: int,
    histogram: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Sampling probability of each unit in this round, `[units]`; 1 or 0 with banded matrix factorisation."""
    stream: Stream | None = config.shared.stream if config.shared else None
    if stream is None:
        return unit_rates(dataset, config, plan, histogram)
    return np.asarray(dataset.unit_subset_keys() % stream.period == round_number % stream.period, dtype=np.float64)


def _whole_update(
    family: Family,
    parameters: NDArray[np.float32],
    dataset: TrackDataset,
    config: TrainingConfig,
    size: int,
    randomness: Randomness,
) -> NDArray[np.float32]:
    """The label's update as if there were no privacy, `[size]`: it is its one unit, clipped and noised as a whole."""
    try:
        return local_update(family, parameters, dataset, config, None, randomness)
    except Diverged:
        return np.zeros(size, np.float32)  # whether a round fails must not tell what is in it
