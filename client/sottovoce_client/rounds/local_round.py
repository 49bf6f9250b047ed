"""A label's computations for a run: privacy plan, layout of the vector, update and counters."""

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import CatalogueError, ConfigurationError, PrivacyError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.refusals import RefusalReason
from sottovoce.models import discovery
from sottovoce.models.parameters import file_of
from sottovoce.models.trainable import model_shapes, trainable_mask
from sottovoce.privacy.accountant import epsilon
from sottovoce.privacy.calibration import plan_for, with_more_noise
from sottovoce.privacy.class_balance import noisy_histogram
from sottovoce.privacy.discrete_gaussian import sample
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.held_out import COUNTER_OFFSET, LARGEST_COUNT, CounterShape, held_out_counts
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import ReportRequest
from sottovoce.protocol.violations import WrongVector
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import RunConfiguration, Unit
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import clip_follows
from sottovoce_client.data.dataset import TrackDataset
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.run_state import RunState
from sottovoce_client.training.distributed_noise import add_noise, clipped_sum
from sottovoce_client.training.dp_sgd import train
from sottovoce_client.training.evaluation import measure
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_client.training.subnormals import without_subnormals

LEAST_UNITS = 10
"""Smallest declared number of units that a label trains with."""


def objection(config: RunConfiguration, agreement: Agreement, policy: Policy) -> RefusalReason | None:
    """The reason to refuse a run: its policy forbids it, or it cannot be computed here. None to accept it."""
    try:
        family = discovery.family(config.task, config.family)
    except ConfigurationError:
        return RefusalReason.FAMILY
    if config.distributed and not family.distributed_noise:
        return RefusalReason.CONFIGURATION
    if config.feature_spec != discovery.spec_of(config.task, config.family).digest:
        return RefusalReason.CONFIGURATION
    if config.private and not agreement.covers(config):
        return RefusalReason.AGREEMENT
    try:
        size = trainable_mask(config).size
    except ConfigurationError:
        return RefusalReason.CONFIGURATION
    return policy.check(config, agreement, parameters=size)


def plan_of(config: RunConfiguration, agreement: Agreement, policy: Policy) -> PrivacyPlan | None:
    """The label's privacy plan for a run, within its policy; None in a run without privacy.

    The catalogue itself is not used: the number of units is the one declared in the policy.

    Raises:
        CatalogueError: the policy declares too few units, or none.
        PrivacyError: no amount of noise keeps the guarantee.
    """
    if not config.private:
        return None
    labels = len(agreement.members)
    units = labels if config.unit is Unit.LABEL else policy.declared(config.unit)
    if config.unit is not Unit.LABEL and units < LEAST_UNITS:
        raise CatalogueError(
            f"Training needs {LEAST_UNITS} {config.unit}s or more, and this label's policy declares {units}.",
            hint="sottovoce label catalogue --declare writes the number into the policy, in two digits.",
        )
    plan = plan_for(
        config,
        units,
        mechanism=DistributedDiscreteGaussian.of(config, int(trainable_mask(config).sum()), labels)
        if config.distributed
        else None,
        epsilon=policy.epsilon_per_run,
        delta=policy.delta_max,
    )
    # The run sets distributed noise for all labels; `objection` has checked it against the policy.
    if not config.distributed:
        plan = with_more_noise(plan, policy.least_noise_multiplier)
    asked = (config.epsilon, config.delta) if config.distributed else (plan.epsilon_ceiling, plan.delta)
    evaluations = held_out_counts(config, shape_of(config), epsilon=asked[0], delta=asked[1])
    if evaluations and epsilon((evaluations,), plan.delta) > plan.epsilon_ceiling:
        raise PrivacyError("The run's evaluations cost more ε than this label's ceiling.")
    return replace(plan, evaluations=evaluations)


def shape_of(config: RunConfiguration) -> CounterShape:
    """The counters of a run's task."""
    task, classes = discovery.task(config.task), len(config.classes)
    return CounterShape(task.norm_squared(classes), len(task.counters(classes)))


def layout_of(request: ReportRequest, config: RunConfiguration) -> VectorLayout:
    """The layout of a round's vector; a request that does not match is refused before any privacy is spent.

    Raises:
        WrongVector: the request asks for a vector of another length.
    """
    counters = len(discovery.task(config.task).counters(len(config.classes)))
    # If the clip follows a quantile, a count is sent with the update.
    sent = int(trainable_mask(config).sum()) + clip_follows(config)
    layout = VectorLayout.for_round(config, request.kind, sent, counters, len(request.participants))
    if layout.elements != request.elements:
        raise WrongVector(f"The round asks for {request.elements} elements, but its layout has {layout.elements}.")
    return layout


def weights_digest(parameters: NDArray[np.float32], config: RunConfiguration) -> str:
    """SHA-256 (hex) of the weights file of a release with these parameters."""
    return hashlib.sha256(file_of(parameters, model_shapes(config))).hexdigest()


def inputs_of(
    state: RunState,
    request: ReportRequest,
    model: GlobalModel,
    prepared: Prepared,
    randomness: Randomness,
) -> RoundInputs:
    """The inputs of a training round: the global model, and the label's own data."""
    config = state.config
    return RoundInputs(
        discovery.family(config.task, config.family),
        model.parameters,
        prepared.train,
        config,
        state.plan,
        randomness,
        None if state.histogram is None else np.asarray(state.histogram),
        request.round,
        model.clip,
    )


def update_of(state: RunState, run: bytes, inputs: RoundInputs) -> NDArray[np.float32] | NDArray[np.int64]:
    """The label's contribution to a training round: an update or, with distributed noise, a noised sum on the grid.

    Args:
        state: the run's state; with banded matrix factorisation it keeps this round's sum for the next rounds.
        run: the run's id.
        inputs: inputs of the round.

    Raises:
        PrivacyError, Diverged, ConfigurationError: as for `train` and `clipped_sum`.
    """
    plan = inputs.plan
    if plan and plan.mechanism:
        signs = plan.mechanism.signs(run, inputs.number)
        state.remember(inputs.number, without_subnormals(lambda: clipped_sum(inputs, signs)))
        return add_noise(state.last_sums(inputs.number), plan, inputs.randomness)
    return without_subnormals(lambda: train(inputs))


def counters_of(
    state: RunState, number: int, model: NDArray[np.float32], prepared: Prepared, randomness: Randomness
) -> NDArray[np.int64]:
    """Counters of a global model on the label's held-out tracks, before masking: noised, and offset to be positive.

    Args:
        state: the run's state. Its plan must have been charged for this evaluation.
        number: round of the model; 0 for the initial one. Only rounds in `RunConfiguration.evaluated` are counted.
        model: the global parameters, `[P]`.
        prepared: the label's data sets; without held-out tracks, the counters contain only noise.
        randomness: source of the noise.
    """
    config = state.config
    counters = np.zeros(shape_of(config).dimension, np.int64)
    noise = state.plan.evaluations if state.plan is not None else None
    if number not in config.evaluated or (config.private and noise is None):
        return counters + COUNTER_OFFSET
    if (held_out := prepared.holdout) is not None:
        family = discovery.family(config.task, config.family)
        counters += without_subnormals(lambda: measure(family, model, held_out, config))
    if noise is not None:
        counters += sample(randomness, noise.variance, len(counters))
    return np.clip(counters, -LARGEST_COUNT, LARGEST_COUNT) + COUNTER_OFFSET


def histogram_of(dataset: TrackDataset, classes: int, plan: PrivacyPlan | None, randomness: Randomness) -> list[float]:
    """Units per class, with the plan's noise; exact in a run without privacy."""
    counted = dataset.unit_classes()
    if plan is None or plan.histogram_noise is None:
        return [float(count) for count in np.bincount(counted, minlength=classes)]
    return [float(count) for count in noisy_histogram(counted, classes, plan.histogram_noise, randomness)]
