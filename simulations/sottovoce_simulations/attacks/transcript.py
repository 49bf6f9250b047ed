"""Transcript of one run of the labels' code with canaries: the coordinator's view, and data that only an audit has."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.models import parameters as flat
from sottovoce.models.style.svm import CONSTANT, FAMILY
from sottovoce.models.trainable import trainable_mask
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import Kind
from sottovoce.protocol.ring import RingArray
from sottovoce.protocol.violations import ImplausibleSum
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Balance, Unit
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import clip_follows
from sottovoce.run.round_sum import RoundSum
from sottovoce_client.rounds import local_round
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_simulations.attacks.canaries import FEATURES, SPEC, Audited

_NO_COUNTERS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Transcript:
    """One run of the labels' code, in units of the noise's declared standard deviation per number.

    Args:
        audited: the run's labels.
        included: which canaries were included, `[m]`.
        reports: each label's report, in the coordinates in which it adds noise: `[rounds, labels, d]`.
        sums: over the labels, in the model's coordinates, positive along gradients: `[rounds, styles, features + 1]`.
        gradients: each canary's clipped gradient divided by the clip, in its own coordinates: `[rounds, m, styles]`.
        drawn: how often each canary was sampled, `[rounds, m]`.
        release: the final weights minus the initial ones, `[styles, features + 1]`.
    """

    audited: Audited
    included: NDArray[np.bool_]
    reports: NDArray[np.float64]
    sums: NDArray[np.float64]
    gradients: NDArray[np.float64]
    drawn: NDArray[np.int64]
    release: NDArray[np.float64]

    @property
    def silent(self) -> NDArray[np.bool_]:
        """Columns of the model that no track affects, `[features + 1]`: those of excluded canaries."""
        columns = np.ones(FEATURES + 1, np.bool_)
        columns[: len(self.included)] = ~self.included
        columns[-1] = not self.included.any()
        return columns

    def along(self, sums: NDArray[np.float64], gradients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Components of sums `[…, styles, features + 1]` along gradients `[…, m, styles]`: `[…, m]`."""
        own = np.swapaxes(sums[..., : len(self.included)], -1, -2)
        return np.asarray((own * gradients).sum(-1) / np.maximum(np.linalg.norm(gradients, axis=-1), 1e-12))


def execute(audited: Audited, included: NDArray[np.bool_]) -> Transcript:
    """Run the labels' code for a whole run, with noise from the operating system.

    Args:
        audited: the run's labels.
        included: which canaries are included, `[m]`.

    Raises:
        SottovoceError: any error of the labels' code.
    """
    config, mechanism = audited.config, audited.plan.mechanism
    owned = [np.flatnonzero(included)[label :: audited.labels] for label in range(audited.labels)]
    if config.unit is Unit.LABEL:
        owned = [np.flatnonzero(included & (np.arange(len(included)) == label)) for label in range(audited.labels)]
    labels = [(audited.catalogue(canaries), audited.state(label)) for label, canaries in enumerate(owned)]
    if config.balance is not Balance.NONE:
        for dataset, state in labels:
            state.histogram = local_round.histogram_of(dataset, len(config.classes), state.plan, Randomness.system())
    run, layout = audited.announcement.run, layout_of(audited)
    model = GlobalModel.start(
        config,
        run=run,
        labels=len(audited.agreement.members),
        trainable=trainable_mask(config),
        first=audited.first,
    )
    reports, sums, gradients, clips, drawn = [], [], [], [], np.zeros((config.rounds, len(included)), np.int64)
    for number in range(1, config.rounds + 1):
        gradients.append(_gradients(audited, model, len(included)))
        clips.append(model.clip)
        updates = [
            local_round.update_of(
                state,
                run,
                RoundInputs(
                    FAMILY,
                    model.parameters,
                    dataset,
                    config,
                    state.plan,
                    Randomness.system(),
                    None if state.histogram is None else np.asarray(state.histogram),
                    number,
                    model.clip,
                ),
            )
            for dataset, state in labels
        ]
        for canaries, (dataset, _) in zip(owned, labels, strict=True):
            drawn[number - 1, canaries] = dataset.counts()
        total = layout.ring.zeros(layout.elements)
        for update in updates:
            total += layout.encode(update, _NO_COUNTERS)
        layout.ring.reduce(total)
        _follow(model, RoundSum(number, len(updates), len(updates), total[: layout.parameters]))
        std = audited.step if mechanism is None else np.sqrt(mechanism.variance)
        reports.append(np.array(updates, np.float64) / std)
        sums.append(_in_model(audited, layout, total[: layout.parameters], number))
    noise = np.linalg.norm(audited.column * clips / clips[0])
    release = (model.parameters.astype(np.float64) - audited.first) / audited.step / noise
    return Transcript(
        audited,
        included,
        np.array(reports),
        np.array(sums),
        np.array(gradients),
        drawn,
        release.reshape(-1, FEATURES + 1),
    )


def layout_of(audited: Audited) -> VectorLayout:
    """Layout of a round of the honest labels only, without counters."""
    config = audited.config
    parameters = audited.first.size + clip_follows(config)
    return VectorLayout.for_round(config, Kind.TRAIN, parameters, 0, audited.labels)


def _follow(model: GlobalModel, total: RoundSum) -> None:
    """Apply a round's sum to the model, or abort the round if honest labels cannot have sent it: checks will fail."""
    try:
        model.follow(total)
    except ImplausibleSum:
        model.follow(RoundSum.aborted(total.round, model.ring))


def _in_model(audited: Audited, layout: VectorLayout, total: RingArray, number: int) -> NDArray[np.float64]:
    """A coordinator's decoding of a sum, before inverting the matrix: `[styles, features + 1]`."""
    mechanism = audited.plan.mechanism
    if mechanism is None:
        return layout.mean(total, audited.labels).reshape(-1, FEATURES + 1).astype(np.float64) / audited.step
    signs = mechanism.signs(audited.announcement.run, number)
    vector = mechanism.vector(layout.integers(total)[: mechanism.parameters].astype(np.float64), signs)
    along = -1 if audited.config.unit is Unit.LABEL else 1
    return np.asarray(vector.reshape(-1, FEATURES + 1) * (along * audited.signal), np.float64)


def _gradients(audited: Audited, global_model: GlobalModel, canaries: int) -> NDArray[np.float64]:
    """Each canary's correctly clipped gradient divided by the clip, by separate formulas: `[m, styles]`."""
    config, chosen = audited.config, np.arange(canaries)
    model = flat.model_of(FAMILY, SPEC, len(config.classes), global_model.parameters)
    with torch.no_grad():
        outputs: Tensor = model(torch.eye(FEATURES)[chosen])
    outputs.requires_grad_(True)
    losses = FAMILY.loss(outputs, torch.from_numpy(chosen % len(config.classes)))
    own = torch.autograd.grad(losses.sum(), outputs)[0].double().numpy()  # times the feature, which is 1
    whole = np.linalg.norm(own, axis=1, keepdims=True) * np.hypot(1.0, CONSTANT)
    if config.unit is Unit.LABEL:  # the whole update of all local steps is clipped
        moved = config.learning_rate / config.batch_size * audited.step_weights.sum()
        own, whole = own * moved, whole * moved
    return np.asarray(own / np.maximum(whole, global_model.clip))
