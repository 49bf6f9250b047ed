"""Promise: the time that a round takes does not tell how many units were sampled, or whether there were any.

The attack: the size of a Poisson sample is random and private, and a step took as long as its sample was large: over a
run's rounds the correlation of CPU time and number of sampled units was 0.6 to 0.99. Here the work is counted instead
of timed: rows of each batch that a gradient is computed of, in order.
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import binom
from tests.small_run import small_run

from sottovoce.features.spec import View
from sottovoce.models import discovery
from sottovoce.models.parameters import initial, model_of
from sottovoce.privacy.calibration import plan_for, with_least_noise
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.padding import GROWTH, OVERFLOW_SHARE, padded_batch
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import BandedFactorisation, DistributedNoise, RunConfiguration, Unit
from sottovoce_client.data.dataset import Sample, TrackDataset
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.rounds import local_round
from sottovoce_client.rounds.run_state import RunState
from sottovoce_client.training.distributed_noise import clipped_sum
from sottovoce_client.training.dp_sgd import batches, train
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_client.training.unit_gradients import UnitGradients

CLASSES = ("blues", "waltz")
LABELS, SEGMENTS = 3, 3
SVM = discovery.family("style", "svm")
SPEC = discovery.spec_of("style", "svm")


def a_run(**changes) -> RunConfiguration:
    values = {
        "classes": CLASSES,
        "feature_spec": SPEC.digest,
        "rounds": 6,
        "local_steps": 2,
        "batch_size": 16,
        "segments_per_track": SEGMENTS,
    }
    return small_run(**(values | changes))


def a_distributed_run(sample_rate: float = 0.2, **changes) -> RunConfiguration:
    distributed = DistributedNoise(min_honest=1, noise_multiplier=1.0, sample_rate=sample_rate, **changes)
    return with_least_noise(a_run(local_steps=1, distributed=distributed), start().size, LABELS)


def start() -> np.ndarray:
    return initial(SVM, SPEC, len(CLASSES), 0)


def tracks(number: int) -> TrackDataset:
    """Tracks of one to five segments."""
    rng = np.random.default_rng(0)
    shape = TrackDataset.empty(SPEC, View.SUMMARY).segments.shape[1:]
    samples = [Sample(rng.normal(size=(1 + i % 5, *shape)).astype(np.float32), i % 2) for i in range(number)]
    return TrackDataset.build(samples, SPEC) if samples else TrackDataset.empty(SPEC, View.SUMMARY)


def plan_of(config, units=80):
    mechanism = DistributedDiscreteGaussian.of(config, start().size, LABELS) if config.distributed else None
    return plan_for(config, units, mechanism=mechanism)


@pytest.fixture
def work(monkeypatch):
    """Shapes of what gradients are computed of, as they come."""
    seen: list[tuple[int, ...]] = []
    losses = UnitGradients._losses

    def counted(self, batch, weights, generator):
        seen.append(tuple(batch.features.shape))
        return losses(self, batch, weights, generator)

    monkeypatch.setattr(UnitGradients, "_losses", counted)
    return seen


def rounds_of(config, plan, data, work, number=12):
    """The work of each of so many rounds."""
    found = []
    for seed in range(number):
        work.clear()
        inputs = RoundInputs(SVM, start(), data, config, plan, Randomness.for_simulation(seed))
        if plan.mechanism:
            clipped_sum(inputs, plan.mechanism.signs(b"run", 1))
        else:
            train(inputs)
        found.append(tuple(work))
    return found


@pytest.mark.parametrize("config", [a_run(), a_distributed_run()], ids=["local", "distributed"])
@pytest.mark.parametrize("chunk", [1 << 26, 1 << 16], ids=["at once", "in parts"])
def test_every_round_is_as_much_work(config, chunk, work, monkeypatch):
    monkeypatch.setattr("sottovoce_client.training.unit_gradients.MEMORY", chunk)
    plan = plan_of(config)
    found = {one for number in (0, 1, 79, 80) for one in rounds_of(config, plan, tracks(number), work)}
    assert len(found) == 1
    before = replace(plan, padded_batch=0)  # the control: what earlier versions did
    assert len(set(rounds_of(config, before, tracks(80), work))) > 5


def test_a_padded_round_is_the_same_round():
    """Units that were not sampled weigh nothing, and neither norms nor counts know of them."""
    distributed = a_distributed_run(1.0, clip_quantile=0.5).changed(segments_per_track=5)
    data, plan = tracks(20), plan_of(distributed, 20)
    signs = plan.mechanism.signs(b"run", 1)
    sums = []
    for size in (0, plan.padded_batch, 50):
        inputs = RoundInputs(
            SVM, start(), data, distributed, replace(plan, padded_batch=size), Randomness.for_simulation(1)
        )
        sums.append(clipped_sum(inputs, signs))
        assert sums[-1][-1] == sums[0][-1]  # the count for the clip's quantile
        assert np.abs(sums[-1] - sums[0]).max() <= 2 * 20 + 1  # rounding is random, by unit
    config, norms = a_run(segments_per_track=5), []
    for size in (0, 50):
        inputs = RoundInputs(
            SVM, start(), data, config, replace(plan_of(config, 20), padded_batch=size), Randomness.for_simulation(1)
        )
        gradients = UnitGradients(SVM, model_of(SVM, SPEC, len(CLASSES), start()), 1.0)
        total = torch.zeros(gradients.size)
        for batch, sampled in batches(inputs, gradients, np.arange(20)):
            total += gradients.sum(batch, sampled, torch.Generator())
        norms.append(total)
    torch.testing.assert_close(norms[0], norms[1])


def test_an_empty_label_adds_noise_alone(work):
    config = a_distributed_run()
    inputs = RoundInputs(SVM, start(), tracks(0), config, plan_of(config), Randomness.for_simulation(1))
    assert not clipped_sum(inputs, inputs.plan.mechanism.signs(b"run", 1)).any()
    assert work


def test_a_larger_sample_takes_twice_as_long_and_loses_nothing(work):
    config, data = a_run(batch_size=80, local_steps=1), tracks(80)
    small = replace(plan_of(config), padded_batch=50)
    assert rounds_of(config, small, data, work, 1) == [((100, SEGMENTS, *data.segments.shape[1:]),)]


@pytest.mark.parametrize("units", [10, 100, 480, 2000, 50_000])
@pytest.mark.parametrize(
    ("config", "rate"),
    [
        (a_run(batch_size=96), lambda units: min(1.0, 96 / units)),
        (a_run(batch_size=480, rounds=30), lambda units: min(1.0, 480 / units)),
        (a_distributed_run(0.2), lambda units: 0.2),
        (
            a_run(
                local_steps=1,
                distributed=DistributedNoise(
                    min_honest=1,
                    noise_multiplier=1.0,
                    sample_rate=1.0,
                    banded=BandedFactorisation(min_separation=4, coefficients=(2, 1)),
                ),
            ),
            lambda units: 0.25,
        ),
    ],
)
def test_more_are_sampled_no_more_often_than_stated(units, config, rate):
    """The least number for which that holds, up to a catalogue a tenth larger than declared."""
    size, most = padded_batch(config, units, 1e-5), int(np.ceil(GROWTH * units))
    chance = [config.steps * binom.sf(number - 1, most, rate(units)) for number in (size, size - 1)]
    assert chance[0] <= OVERFLOW_SHARE * 1e-5 < chance[1]


@pytest.mark.parametrize(
    ("batch", "units", "cost"),
    [(480, 400, "1.25"), (480, 1000, "1.48"), (480, 5000, "1.56"), (96, 400, "1.9"), (96, 5000, "2.0")],
)
def test_what_it_costs(batch, units, cost):
    """The table of `docs/privacy.md`: computed units over expected ones."""
    size = padded_batch(a_run(batch_size=batch, rounds=30, local_steps=5), units, 1e-5)
    page = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text(encoding="utf-8")
    assert f"{size / min(batch, units):.{len(cost) - 2}f}" == cost
    assert f"| {batch} | {units:,} | {cost} |" in page


def test_whole_labels_are_not_padded():
    distributed = DistributedNoise(min_honest=1, noise_multiplier=1.0, sample_rate=1.0)
    assert padded_batch(a_run(unit=Unit.LABEL, local_steps=1, distributed=distributed), LABELS, 1e-5) == 0


def subnormal(numbers: int) -> int:
    """Number of products, of `numbers`, that are subnormal in the thread that computes them."""
    return int((torch.full((numbers,), 1e-40) * 1.0).view(torch.int32).count_nonzero())


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test_no_number_of_a_track_is_slower_than_others(monkeypatch, two_threads):
    """Own attack, which worked: weights of 1e-20 make a generator's evaluation 20 times slower where anything is heard.

    Numbers below 1e-38 cost a processor up to a hundred times as much, and weights decide for which tracks they arise.
    """
    many = 1 << 20  # so that torch divides the work among its threads
    assert subnormal(many) == many
    seen = []
    state = SimpleNamespace(config=a_run().changed(private=False), plan=None)
    inputs = SimpleNamespace(plan=None, config=state.config)
    prepared = Prepared(tracks(0), tracks(1))
    monkeypatch.setattr(local_round, "train", lambda _: seen.append(subnormal(many)))
    monkeypatch.setattr(local_round, "measure", lambda *_: seen.append(subnormal(many)) or 0)
    local_round.update_of(state, b"run", inputs)
    local_round.counters_of(state, 1, start(), prepared, Randomness.for_simulation(0))
    monkeypatch.setattr(local_round, "clipped_sum", lambda *_: seen.append(subnormal(many)) or np.zeros(1, np.int64))
    monkeypatch.setattr(local_round, "add_noise", lambda *_: None)
    config = a_distributed_run()
    inputs = SimpleNamespace(plan=plan_of(config), config=config, number=1, randomness=None)
    local_round.update_of(RunState(None, inputs.plan), b"run", inputs)
    assert seen == [0, 0, 0]
    assert subnormal(many) == many  # a label follows the model with every bit
