"""One run of the labels' code with canaries: what it gives away, and what only an audit may know of it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.models import parameters as flat
from sottovoce.models.style.svm import CONSTANT, FAMILY
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Balance, Unit
from sottovoce_client.rounds import local_round
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_simulations.attacks.canaries import FEATURES, SPEC, Audited


@dataclass(frozen=True)
class Transcript:
    """One run of the labels' code, in units of the noise's declared standard deviation in each number.

    Args:
        audited: what was run.
        included: which canaries were in, `[m]`.
        reports: each label's, in the coordinates in which it adds noise: `[rounds, labels, d]`.
        sums: over the labels, in the model's coordinates, positive along gradients: `[rounds, styles, features + 1]`.
        gradients: each canary's clipped gradient over the clip, in its own coordinates: `[rounds, m, styles]`.
        drawn: how often each canary was drawn, `[rounds, m]`.
        release: the last weights less the first, `[styles, features + 1]`.
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
        """Which of the model's columns no track moves, `[features + 1]`: those of canaries that are out."""
        columns = np.ones(FEATURES + 1, np.bool_)
        columns[: len(self.included)] = ~self.included
        columns[-1] = not self.included.any()
        return columns

    def along(self, sums: NDArray[np.float64], gradients: NDArray[np.float64]) -> NDArray[np.float64]:
        """What sums `[…, styles, features + 1]` hold along the directions of gradients `[…, m, styles]`: `[…, m]`."""
        own = np.swapaxes(sums[..., : len(self.included)], -1, -2)
        return np.asarray((own * gradients).sum(-1) / np.maximum(np.linalg.norm(gradients, axis=-1), 1e-12))


def execute(audited: Audited, included: NDArray[np.bool_]) -> Transcript:
    """Run the labels' code for a whole run, with noise from the operating system.

    Args:
        audited: what is run.
        included: which canaries are in, `[m]`.

    Raises:
        SottovoceError: whatever the labels' code raises.
    """
    config, mechanism = audited.config, audited.plan.mechanism
    owned = [np.flatnonzero(included)[label :: audited.labels] for label in range(audited.labels)]
    if config.unit is Unit.LABEL:
        owned = [np.flatnonzero(included & (np.arange(len(included)) == label)) for label in range(audited.labels)]
    labels = [(audited.catalogue(canaries), audited.state(label)) for label, canaries in enumerate(owned)]
    if config.balance is not Balance.NONE:
        for dataset, state in labels:
            state.histogram = local_round.histogram_of(dataset, len(config.classes), state.plan, Randomness.system())
    first = flat.initial(FAMILY, SPEC, len(config.classes), seed=config.seed)
    parameters = first
    decoded: list[NDArray[np.float64]] = []
    reports, sums, gradients, drawn = [], [], [], np.zeros((config.rounds, len(included)), np.int64)
    for number in range(1, config.rounds + 1):
        gradients.append(_gradients(audited, parameters, len(included)))
        told = [
            local_round.update_of(
                state,
                audited.announcement.run,
                RoundInputs(
                    FAMILY,
                    parameters,
                    dataset,
                    config,
                    state.plan,
                    Randomness.system(),
                    None if state.histogram is None else np.asarray(state.histogram),
                    number,
                ),
            ).astype(np.float64)
            for dataset, state in labels
        ]
        for canaries, (dataset, _) in zip(owned, labels, strict=True):
            drawn[number - 1, canaries] = dataset.counts()
        reports.append(np.array(told) / (audited.step if mechanism is None else np.sqrt(mechanism.variance)))
        sums.append(_in_model(audited, reports[-1].sum(axis=0), number))
        change = _decoded(audited, sums[-1], decoded)
        parameters = (parameters + audited.step * change.ravel()).astype(np.float32)
    release = (parameters.astype(np.float64) - first) / audited.step / np.linalg.norm(audited.column)
    shape = (len(config.classes), FEATURES + 1)
    return Transcript(
        audited, included, np.array(reports), np.array(sums), np.array(gradients), drawn, release.reshape(shape)
    )


def _in_model(audited: Audited, report: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Honest labels' summed reports, turned back from the run's grid: `[styles, features + 1]`."""
    mechanism, shape = audited.plan.mechanism, (len(audited.config.classes), FEATURES + 1)
    if mechanism is None:
        return report.reshape(shape)
    # `vector` divides by the scale, which is put back: what is looked at is noise, not gradients.
    grid = report[: mechanism.parameters] * mechanism.scale / np.sqrt(audited.labels)
    vector = mechanism.vector(grid, mechanism.signs(audited.announcement.run, number)).reshape(shape)
    return np.asarray(vector, np.float64) * (-1 if audited.config.unit is Unit.LABEL else 1)


def _decoded(audited: Audited, newest: NDArray[np.float64], decoded: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The round's own gradients, from this round's sum and those decoded before, to which it is added."""
    decoded.append(
        BandedToeplitz(tuple(int(value) for value in audited.row)).decode(newest, decoded[-len(audited.row) + 1 :])
        if len(audited.row) > 1
        else newest
    )
    return decoded[-1]


def _gradients(audited: Audited, parameters: NDArray[np.float32], canaries: int) -> NDArray[np.float64]:
    """Each canary's gradient, clipped as it must be, over the clip, by formulas of its own: `[m, styles]`."""
    config, chosen = audited.config, np.arange(canaries)
    model = flat.model_of(FAMILY, SPEC, len(config.classes), parameters)
    with torch.no_grad():
        outputs: Tensor = model(torch.eye(FEATURES)[chosen])
    outputs.requires_grad_(True)
    losses = FAMILY.loss(outputs, torch.from_numpy(chosen % len(config.classes)))
    own = torch.autograd.grad(losses.sum(), outputs)[0].double().numpy()  # times the feature, which is 1
    whole = np.linalg.norm(own, axis=1, keepdims=True) * np.hypot(1.0, CONSTANT)
    if config.unit is Unit.LABEL:  # the whole update is clipped, in which all local steps are
        moved = config.learning_rate / config.batch_size * audited.step_weights.sum()
        own, whole = own * moved, whole * moved
    return np.asarray(own / np.maximum(whole, config.max_grad_norm))
