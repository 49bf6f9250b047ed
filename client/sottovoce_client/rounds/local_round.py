"""What a label computes for a run: its data, its plan, its part of a round. It loads torch; callers wait for that."""

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import CatalogueError, ConfigurationError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.refusals import RefusalReason
from sottovoce.models import discovery
from sottovoce.models.trainable import trained
from sottovoce.privacy.calibration import plan_for, with_more_noise
from sottovoce.privacy.class_balance import noisy_histogram
from sottovoce.privacy.distributed_gaussian import SumGrid
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import ReportRequest
from sottovoce.protocol.violations import WrongParameters, WrongVector
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import TrainingConfig, Unit
from sottovoce.run.records import clip_follows
from sottovoce_client.data.dataset import TrackDataset
from sottovoce_client.data.preparation import Prepared, prepare
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.run_state import RunState
from sottovoce_client.training.distributed_noise import add_noise, clipped_sum
from sottovoce_client.training.dp_sgd import train
from sottovoce_client.training.evaluation import measure

LEAST_UNITS = 10


def objection(config: TrainingConfig, agreement: Agreement, policy: Policy) -> RefusalReason | None:
    """Why a label declines a run by its policy, or since it cannot compute what is asked; None if it does not."""
    try:
        family = discovery.family(config.task, config.family)
    except ConfigurationError:
        return RefusalReason.FAMILY
    if config.shared and not family.shared_noise:
        return RefusalReason.CONFIGURATION
    if config.feature_spec != discovery.spec_of(config.task, config.family).digest:
        return RefusalReason.CONFIGURATION
    if config.private and not agreement.covers(config):
        return RefusalReason.AGREEMENT
    try:
        size = trained(config).size
    except ConfigurationError:
        return RefusalReason.CONFIGURATION
    return policy.check(config, agreement, parameters=size)


def data_of(home: LabelHome, config: TrainingConfig) -> Prepared:
    """The data sets of a run.

    Raises:
        CatalogueError: nothing in the catalogues can be used, or nothing is left to train on.
    """
    return prepare(home, config)


def plan_of(config: TrainingConfig, prepared: Prepared, agreement: Agreement, policy: Policy) -> PrivacyPlan | None:
    """How the label trains in a run, within its policy; None in a run without privacy.

    Raises:
        CatalogueError: there are too few units.
        PrivacyError: no noise keeps the promise.
    """
    if prepared.train.units < LEAST_UNITS:
        raise CatalogueError(f"A label needs {LEAST_UNITS} {config.unit}s to train on, and this one has fewer.")
    if not config.private:
        return None
    labels = len(agreement.members)
    plan = plan_for(
        config,
        labels if config.unit is Unit.LABEL else prepared.train.units,
        grid=SumGrid.of(config, int(trained(config).sum()), labels) if config.shared else None,
        epsilon=policy.epsilon_per_run,
        delta=policy.delta_max,
    )
    # Shared noise is the run's to say, and the policy has looked at it before.
    return plan if config.shared else with_more_noise(plan, policy.least_noise_multiplier)


def layout_of(request: ReportRequest, config: TrainingConfig, parameters: int) -> VectorLayout:
    """The layout of a round's vector. What does not fit it is refused before the round costs the tracks anything.

    Raises:
        WrongParameters: the parameters that came along are not those of the run's model.
        WrongVector: the request wants a vector of another length.
    """
    moved = trained(config)
    if parameters != moved.size + clip_follows(config):
        raise WrongParameters("A round's parameters are not as many as the run's model has.")
    counters = len(discovery.task(config.task).counters(len(config.classes)))
    # Where the clip rides along with the parameters, a count rides along with the update.
    sent = int(moved.sum()) + clip_follows(config)
    layout = VectorLayout.for_round(config, request.kind, sent, counters, len(request.adverts))
    if layout.elements != request.elements:
        raise WrongVector("A round is to be reported in a vector of another length than its layout gives.")
    return layout


def update_of(
    state: RunState,
    request: ReportRequest,
    model: NDArray[np.float32],
    clip: float,
    prepared: Prepared,
    randomness: Randomness,
) -> NDArray[np.float32] | NDArray[np.int64]:
    """The label's part of a training round: an update, or with shared noise a noised sum on the run's grid.

    Args:
        state: of the run; where units take turns, it remembers this round's sum for the next ones.
        request: of the round.
        model: the global parameters, `[P]`.
        clip: of the round.
        prepared: the label's data.
        randomness: of sampling and noise.

    Raises:
        PrivacyError, Diverged, ConfigurationError: as `train` and `clipped_sum` say.
    """
    config, plan = state.config, state.plan
    family = discovery.family(config.task, config.family)
    histogram = None if state.histogram is None else np.asarray(state.histogram)
    if config.shared and plan and plan.grid:
        signs = plan.grid.signs(request.run, request.round)
        sums = (model, clip, prepared.train, config, plan, signs, request.round, randomness)
        state.remember(request.round, clipped_sum(family, *sums, histogram))
        return add_noise(state.last_sums(request.round), plan, randomness)
    return train(family, model, prepared.train, config, plan, randomness, histogram)


def counters_of(config: TrainingConfig, model: NDArray[np.float32], prepared: Prepared) -> NDArray[np.int64]:
    """The figures of a global model on the label's held-out tracks, to be masked; zeros where it has none."""
    if prepared.holdout is None:
        return np.zeros(len(discovery.task(config.task).counters(len(config.classes))), np.int64)
    return measure(discovery.family(config.task, config.family), model, prepared.holdout, config)


def histogram_of(dataset: TrackDataset, classes: int, plan: PrivacyPlan | None, randomness: Randomness) -> list[float]:
    """Units of each class, with the plan's noise; exact in a run without privacy."""
    counted = dataset.unit_classes()
    if plan is None or plan.histogram_noise is None:
        return [float(count) for count in np.bincount(counted, minlength=classes)]
    return [float(count) for count in noisy_histogram(counted, classes, plan.histogram_noise, randomness)]
