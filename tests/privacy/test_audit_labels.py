"""The labels' own code, audited: what it does for real stays below its claim, and bugs planted in it are found.

A coordinator keeps the model at zero, so that each canary (a track whose features no other has) has the same gradient
in each round, and reads all rounds' sums. It colludes with all labels but the honest ones, whose sums these are.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import sottovoce.privacy.distributed_gaussian
import sottovoce_client.training.distributed_noise
import sottovoce_client.training.unit_gradients
from sottovoce.features.spec import FeatureSpec
from sottovoce.models.style.svm import Svm
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.calibration import plan_for, with_least_noise
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.protocol.layout import VectorLayout
from sottovoce.protocol.messages import Kind
from sottovoce.randomness import Randomness, SystemRandomness
from sottovoce.run.configuration import BandedFactorisation, DistributedNoise, RunConfiguration, Unit
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.training.distributed_noise import add_noise, clipped_sum
from sottovoce_client.training.dp_sgd import train
from sottovoce_client.training.poisson_sampling import UnitSampler
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_simulations.attacks.canary_audit import audit, periodic_scores, poisson_scores

CANARIES = 2000
PARAMETERS = 2 * CANARIES
EXPECTED = CANARIES // 2
SEGMENTS = 6
WHOLE_LABELS = 100
CLIP = 0.1  # a seventh of a canary's gradient
DELTA = 1e-5
NO_COUNTERS = np.zeros(0, np.int64)


class Bare(nn.Module):
    """A linear model without an intercept, so that canaries' gradients are orthogonal."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(CANARIES, 2, bias=False)

    def forward(self, features):
        return self.linear(functional.normalize(features, dim=1))


class Canaries(Svm):
    def build(self, spec, classes):
        return Bare()


FAMILY, SPEC = Canaries(), FeatureSpec()


@dataclass(frozen=True)
class Federation:
    """The audited system: honest labels' code, for all rounds of a run.

    Args:
        config: the run's configuration.
        plan: every label's plan.
        labels: the honest labels, among which the canaries are spread.
        min_separation: rounds between a canary's participations, if they are not sampled; else None.
        segments_as_tracks: a bug that treats each segment as a separate track.
        sums: each label's sums of the rounds so far.
    """

    config: RunConfiguration
    plan: PrivacyPlan
    labels: int = 1
    min_separation: int | None = None
    segments_as_tracks: bool = False
    sums: list[list[np.ndarray]] = field(default_factory=list)

    def __call__(self, included):
        datasets = [self._dataset(np.flatnonzero(included)[label :: self.labels]) for label in range(self.labels)]
        randomness, self.sums[:] = Randomness.system(), [[] for _ in datasets]
        step = self._local if self.plan.mechanism is None else self._shared
        directions = [step(datasets, number, randomness) for number in range(1, self.config.rounds + 1)]
        # A gradient has −1/√2 of its norm at its track's own class, 1/√2 at the other; both are one class here.
        weights = np.array(directions, dtype=np.float64).reshape(self.config.rounds, 2, CANARIES)
        projections = (weights[:, 1] - weights[:, 0]) / np.sqrt(2)
        if self.config.distributed and self.config.distributed.banded:
            return self._turn_scores(projections)
        if self.min_separation:
            return periodic_scores(projections, self.min_separation, self.plan.noise_multiplier)
        return poisson_scores(projections, self.plan.base_rate, self.plan.noise_multiplier)

    def _dataset(self, canaries):
        features = np.zeros((len(canaries), CANARIES), np.float16)
        features[np.arange(len(canaries)), canaries] = 1
        if self.segments_as_tracks:
            return TrackDataset.build((Sample(row[None], 0) for row in features for _ in range(SEGMENTS)), SPEC)
        samples = (
            Sample(np.tile(row, (SEGMENTS, 1)), 0, subset_key=int(canary))
            for row, canary in zip(features, canaries, strict=True)
        )
        return TrackDataset.build(samples, SPEC)

    def _turn_scores(self, rows):
        """Log-likelihood ratios where the coordinator knows the canaries' slots: `[m]`."""
        mechanism, banded = self.plan.mechanism, self.config.distributed.banded
        numbers, canaries = np.arange(1, len(rows) + 1)[:, None], np.arange(CANARIES)
        slots = (numbers % banded.min_separation == canaries % banded.min_separation).astype(np.float64)
        expected = sum(
            coefficient * np.concatenate([np.zeros((back, CANARIES)), slots[: len(rows) - back]])
            for back, coefficient in enumerate(banded.coefficients)
        )
        variance = self.labels * mechanism.variance / mechanism.scale**2
        return (expected * (rows - expected / 2)).sum(axis=0) / variance

    def _local(self, datasets, number, randomness):
        """The sum that a label's update in the clear is made of, in clips: `[P]`."""
        [dataset] = datasets
        zero, config = np.zeros(PARAMETERS, np.float32), self.config
        update = train(RoundInputs(FAMILY, zero, dataset, config, self.plan, randomness))
        return -update * config.batch_size / config.learning_rate / config.max_grad_norm

    def _shared(self, datasets, number, randomness):
        """The unmasked sum of the honest labels' vectors, in clips: `[P]`."""
        zero, mechanism, config = np.zeros(PARAMETERS, np.float32), self.plan.mechanism, self.config
        signs = mechanism.signs(b"audit", number)
        layout = VectorLayout.for_round(config, Kind.TRAIN, mechanism.dimension, 0, self.labels)
        total = np.zeros(layout.elements, layout.ring.dtype)
        for dataset, earlier in zip(datasets, self.sums, strict=True):
            earlier.append(
                clipped_sum(
                    RoundInputs(FAMILY, zero, dataset, config, self.plan, randomness, number=number, clip=CLIP), signs
                )
            )
            total += layout.encode(add_noise(earlier, self.plan, randomness), NO_COUNTERS)
        integers = layout.decode(total, self.labels).integers.astype(np.float64)
        return mechanism.vector(integers[: mechanism.parameters], signs)


def local(config, rounds, rate, **changes):
    """One label that adds all of its noise itself; the coordinator colludes with all others."""
    batch = round(rate * EXPECTED)
    config = config.changed(rounds=rounds, batch_size=batch, epsilon=2.0)
    return Federation(config, plan_for(config, EXPECTED), **changes)


def distributed(config, rounds, rate, labels, banded=None, quantile=None, **changes):
    """The number of honest labels that the guarantee assumes."""
    config = config.changed(
        rounds=rounds,
        batch_size=round(rate * EXPECTED),
        epsilon=2.0,
        distributed=DistributedNoise(
            labels, noise_multiplier=1.0, sample_rate=rate, banded=banded, clip_quantile=quantile
        ),
    )
    config = with_least_noise(config, PARAMETERS, labels)
    plan = plan_for(config, EXPECTED, mechanism=DistributedDiscreteGaussian.of(config, PARAMETERS, labels))
    return Federation(config, plan, labels, **changes)


@pytest.fixture
def config(config):
    return config.changed(
        classes=("chorale", "reel"),
        feature_spec=SPEC.digest,
        local_steps=1,
        learning_rate=1.0,
        max_grad_norm=CLIP,
        segments_per_track=SEGMENTS,
        update_clip=1000.0,
    )


def examined(federation):
    assert federation.plan.epsilon == pytest.approx(2, rel=0.02)
    return audit(federation, CANARIES, DELTA, Randomness.system())


RIGHT = [
    (local, (10, 1.0), {}),
    (local, (30, 0.1), {}),
    (distributed, (10, 1.0, 3), {}),
    (distributed, (30, 0.1, 3), {}),
    (distributed, (10, 1.0, 20), {}),
    (distributed, (32, 1.0, 2), {"banded": BandedFactorisation(2, BandedToeplitz.optimal(32, 2, 4).coefficients)}),
    (distributed, (10, 1.0, 3), {"quantile": 0.5}),
]


@pytest.mark.parametrize(("form", "arguments", "changes"), RIGHT)
def test_what_labels_do_is_not_refuted(config, form, arguments, changes):
    federation = form(config, *arguments, **changes)
    found = examined(federation)
    assert not found.refutes(federation.plan.epsilon)
    # The audit sees something: a twentieth of the promise is refuted.
    assert found.refutes(federation.plan.epsilon / 20)


def of_whole_labels(config):
    """Scores of canaries that are labels, each with one track that no other has; three of them are honest."""
    rounds, min_honest = 3, 3
    config = config.changed(
        unit=Unit.LABEL,
        batch_size=1,
        rounds=rounds,
        epsilon=2.0,
        distributed=DistributedNoise(min_honest=min_honest, noise_multiplier=1.0, sample_rate=1.0),
    )
    config = with_least_noise(config, PARAMETERS, WHOLE_LABELS)
    plan = plan_for(config, 1, mechanism=DistributedDiscreteGaussian.of(config, PARAMETERS, WHOLE_LABELS))
    federation = Federation(config, plan)

    def mechanism(included):
        randomness, zero, rows = Randomness.system(), np.zeros(PARAMETERS, np.float32), []
        datasets = [federation._dataset(np.array([canary])) for canary in np.flatnonzero(included)]
        for number in range(1, rounds + 1):
            signs = plan.mechanism.signs(b"audit", number)
            sums = [
                sottovoce_client.training.distributed_noise.clipped_sum(
                    RoundInputs(FAMILY, zero, dataset, config, plan, randomness, number=number, clip=CLIP), signs
                )
                for dataset in datasets
            ]
            total = sum(add_noise([each], plan, randomness) for each in sums[:min_honest]) + sum(sums[min_honest:])
            update = plan.mechanism.vector(total.astype(np.float64), signs).reshape(2, CANARIES)
            rows.append((update[0] - update[1])[: len(included)] / np.sqrt(2))
        return poisson_scores(np.array(rows), 1.0, plan.noise_multiplier)

    return audit(mechanism, WHOLE_LABELS, DELTA, Randomness.system()), plan.epsilon


def test_whole_labels_as_the_unit(config, monkeypatch):
    found, epsilon = of_whole_labels(config)
    assert epsilon == pytest.approx(2, rel=0.02)
    assert not found.refutes(epsilon)
    no_noise(monkeypatch)
    found, epsilon = of_whole_labels(config)
    assert found.epsilon > epsilon


def is_refuted(federation):
    found = examined(federation)
    assert found.epsilon > federation.plan.epsilon
    return found.refutes(federation.plan.epsilon)


def no_noise(monkeypatch):
    monkeypatch.setattr(SystemRandomness, "gaussian", lambda self, shape, std: torch.zeros(shape))
    monkeypatch.setattr(
        sottovoce_client.training.distributed_noise, "sample", lambda randomness, variance, size: np.int64(0)
    )


def test_no_noise_at_one_label(config, monkeypatch):
    no_noise(monkeypatch)
    assert is_refuted(local(config, 10, 1.0))
    assert is_refuted(distributed(config, 10, 1.0, 1))


def test_noise_divided_by_the_number_of_labels_not_by_its_root(config, monkeypatch):
    labels, right = 20, sottovoce_client.training.distributed_noise.sample
    federation = distributed(config, 10, 1.0, labels)
    monkeypatch.setattr(
        sottovoce_client.training.distributed_noise,
        "sample",
        lambda randomness, variance, size: right(randomness, variance / labels, size),
    )
    assert is_refuted(federation)


def no_clip(monkeypatch):
    monkeypatch.setattr(sottovoce_client.training.unit_gradients, "_factors", lambda norms, clip: norms * 0 + 1)


def test_a_clip_that_does_not_clip(config, monkeypatch):
    no_clip(monkeypatch)
    assert is_refuted(local(config, 30, 0.1))
    # On the grid a vector that is too long counts as nothing: the rounding has the last word.
    assert not examined(distributed(config, 30, 0.1, 3)).refutes(0.2)
    monkeypatch.setattr(
        sottovoce.privacy.distributed_gaussian,
        "_rounded",
        lambda rotated, bound, randomness: np.rint(rotated).astype(np.int64),
    )
    assert is_refuted(distributed(config, 30, 0.1, 3))


def test_segments_instead_of_tracks_as_the_unit(config):
    assert is_refuted(local(config, 30, 0.1, segments_as_tracks=True))
    assert is_refuted(distributed(config, 30, 0.1, 3, segments_as_tracks=True))


def test_turns_of_which_only_the_first_is_accounted_for(config, monkeypatch):
    banded = BandedFactorisation(2, BandedToeplitz.optimal(32, 2, 4).coefficients)
    monkeypatch.setattr(BandedToeplitz, "sensitivity_squared", lambda self, times, apart: self.column_norm_squared)
    assert is_refuted(distributed(config, 32, 1.0, 2, banded))


@pytest.mark.slow
@pytest.mark.parametrize(("form", "labels"), [(local, ()), (distributed, (1,))])
def test_shuffled_once_instead_of_sampled(config, monkeypatch, form, labels):
    rounds, min_separation = 1000, 50
    federation = form(config, rounds, 1 / min_separation, *labels)
    calls = {"rounds": 0}

    def batch(sampler, randomness):
        """The next batch of an order that was drawn once; the tracks' own order is as good as any."""
        number, calls["rounds"] = calls["rounds"], calls["rounds"] + 1
        return sampler.order[number % min_separation :: min_separation]

    assert not examined(federation).refutes(federation.plan.epsilon)
    monkeypatch.setattr(UnitSampler, "draw", batch)
    assert is_refuted(Federation(federation.config, federation.plan, federation.labels, min_separation=min_separation))
