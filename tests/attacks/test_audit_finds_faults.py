"""Every fault that is planted in the labels' code is found by the audit, and code without a fault raises no alarm.

Noise comes from the operating system, so that each run of these tests is a new experiment. Code without a fault raises
an alarm in one of 10,000 audits at most; faults are so large, or runs so long, that they escape about as seldom.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

import sottovoce_client.training.distributed_noise as distributed_noise
import sottovoce_client.training.dp_sgd as dp_sgd
import sottovoce_client.training.unit_gradients as unit_gradients
from sottovoce.privacy.accountant import epsilon
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.calibration import with_least_noise
from sottovoce.privacy.events import PoissonGaussian
from sottovoce.randomness import Randomness, SystemRandomness
from sottovoce.run.configuration import Balance, BandedFactorisation, DistributedNoise, RunConfiguration, Unit
from sottovoce_client.data.dataset import TrackDataset
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds import local_round
from sottovoce_client.training.poisson_sampling import UnitSampler
from sottovoce_simulations.attacks import audit as audits
from sottovoce_simulations.attacks.audit import audit
from sottovoce_simulations.attacks.canaries import FEATURES, SPEC, STYLES, Audited

DECLARED, ROUNDS, RATE = 200, 8, 0.1
PARAMETERS = len(STYLES) * (FEATURES + 1)
LABELS = 24


def local(**changes):
    return RunConfiguration(
        **{
            "classes": STYLES,
            "feature_spec": SPEC.digest,
            "first_parameters": "0" * 64,
            "distributed": None,
            "rounds": ROUNDS,
            "local_steps": 1,
            "batch_size": round(RATE * DECLARED),
            "learning_rate": 1.0,
            "momentum": 0.0,
            "max_grad_norm": 0.1,
            "segments_per_track": 2,
            "update_clip": 1.0,
            "ring_bits": 32,
            "server_optimizer": "fedavg",
            "server_learning_rate": 1.0,
            "seed": 0,
            "epsilon": 2.0,
        }
        | changes
    )


def distributed(min_honest=2, sample_rate=RATE, banded=None, clip_quantile=None, **changes):
    noise = DistributedNoise(min_honest, 1.0, sample_rate, clip_quantile, banded)
    return with_least_noise(local(**{"rounds": 5, "distributed": noise} | changes), PARAMETERS, max(3, min_honest))


def in_turns():
    return distributed(
        sample_rate=1.0, rounds=8, banded=BandedFactorisation(3, BandedToeplitz.optimal(8, 3, 4).coefficients)
    )


def of_whole_labels():
    return distributed(LABELS, 1.0, unit=Unit.LABEL, batch_size=1, local_steps=2, rounds=2, max_grad_norm=0.5)


@pytest.fixture(autouse=True)
def few_sources(monkeypatch):
    """Enough for a clock that moves on after every fifty."""
    monkeypatch.setattr(audits, "SOURCES", 256)


def alarms(config):
    """Names of the checks that raise an alarm."""
    found = audit(Audited(config, DECLARED), bounds=False)
    assert found.false_alarms <= 1e-4
    return {check.name for check in found.checks if not check.passed}


RIGHT = {
    "local noise": local,
    "steps with momentum": lambda: local(local_steps=4, momentum=0.5, batch_size=60, learning_rate=20.0),
    "every unit in each step": lambda: local(batch_size=DECLARED),
    "artists": lambda: local(unit=Unit.ARTIST),
    "balanced by loss": lambda: local(balance=Balance.LOSS),
    "balanced by sampling": lambda: local(balance=Balance.SAMPLING),
    "distributed noise": distributed,
    "a small ring": lambda: distributed(ring_bits=16),
    "a clip that follows a quantile": lambda: distributed(clip_quantile=0.5),
    "turns": in_turns,
    "whole labels": of_whole_labels,
}


@pytest.mark.parametrize("config", RIGHT.values(), ids=RIGHT)
def test_code_without_a_fault_raises_no_alarm(config):
    assert alarms(config()) == set()


def noise(monkeypatch, change):
    """Both kinds of noise, changed: `change` is given a draw and its standard deviation."""
    gaussian, sample = SystemRandomness.gaussian, distributed_noise.sample

    def changed(self, shape, std):
        return torch.from_numpy(np.asarray(change(gaussian(self, shape, std).numpy(), std), np.float32))

    def changed_integers(randomness, variance, size):
        return np.rint(change(sample(randomness, variance, size), variance**0.5)).astype(np.int64)

    monkeypatch.setattr(SystemRandomness, "gaussian", changed)
    monkeypatch.setattr(distributed_noise, "sample", changed_integers)


def with_previous(monkeypatch, mixed):
    """Noise made of two draws in a row; the draw itself at first."""
    drawn = []

    def change(draw, _):
        drawn.append(draw)
        return draw if len(drawn) == 1 else mixed(drawn[-2], draw, len(drawn))

    noise(monkeypatch, change)


def same_in_two_rounds(monkeypatch):
    with_previous(monkeypatch, lambda before, draw, number: before if number % ROUNDS == 0 else draw)


def same_in_all_rounds(monkeypatch):
    kept = {}
    noise(monkeypatch, lambda draw, _: kept.setdefault(draw.size, draw))


def seeded_by_a_clock(monkeypatch):
    """A clock that moves on after every fifty sources of randomness, as seconds would."""
    ticks = itertools.count()
    monkeypatch.setattr(Randomness, "system", lambda: Randomness.for_simulation(next(ticks) // 50))


def rates(monkeypatch, change):
    unit_rates = dp_sgd.unit_rates
    for module in (dp_sgd, distributed_noise):
        monkeypatch.setattr(module, "unit_rates", lambda *inputs: np.minimum(1, change(unit_rates(*inputs))))


def missing(monkeypatch, where):
    noise(monkeypatch, lambda draw, _: np.where(np.isin(np.arange(draw.size), np.arange(draw.size)[where]), 0, draw))


def plan_from_the_exact_number(monkeypatch):
    """What a label declares follows from what it holds: here it tells an odd number from an even one."""
    counted, build, empty = [0], TrackDataset.build.__func__, TrackDataset.empty.__func__

    def seen(dataset):
        counted.append(dataset.units)
        return dataset

    monkeypatch.setattr(TrackDataset, "build", classmethod(lambda cls, samples, spec: seen(build(cls, samples, spec))))
    monkeypatch.setattr(TrackDataset, "empty", classmethod(lambda cls, *of: seen(empty(cls, *of))))
    monkeypatch.setattr(Policy, "declared", lambda self, unit: DECLARED + 10 * (counted[-1] % 2))


def noise_from_the_exact_number(monkeypatch):
    """As a label's plan did once: one unit more makes its noise a little smaller."""
    train, clipped_sum, add_noise, units = local_round.train, local_round.clipped_sum, local_round.add_noise, []

    def exact(inputs):
        noise_multiplier = inputs.plan.noise_multiplier * (1 + 1 / (1 + inputs.dataset.units))
        return train(replace(inputs, plan=replace(inputs.plan, noise_multiplier=noise_multiplier)))

    def counted(inputs, signs):
        units.append(inputs.dataset.units)
        return clipped_sum(inputs, signs)

    def noised(sums, plan, randomness):
        variance = plan.mechanism.variance * (1 + 1 / (1 + units[-1]))
        return add_noise(sums, replace(plan, mechanism=replace(plan.mechanism, variance=variance)), randomness)

    monkeypatch.setattr(local_round, "train", exact)
    monkeypatch.setattr(local_round, "clipped_sum", counted)
    monkeypatch.setattr(local_round, "add_noise", noised)


def before_the_clip(monkeypatch):
    per_unit = unit_gradients.UnitGradients._per_unit

    def noised(self, mask):
        gradients, _ = per_unit(self, mask)
        gradients = [gradient + 0.1 * torch.randn_like(gradient) for gradient in gradients]
        return gradients, torch.stack([gradient.square().sum(dim=1) for gradient in gradients]).sum(dim=0).sqrt()

    noise(monkeypatch, lambda draw, _: 0 * draw)
    monkeypatch.setattr(unit_gradients.UnitGradients, "_per_unit", noised)


def without_a_clip(monkeypatch):
    monkeypatch.setattr(unit_gradients, "_factors", lambda norms, clip: norms * 0 + 1)


def mirrored(monkeypatch):
    noise(monkeypatch, lambda draw, _: np.concatenate([draw[: draw.size // 2], -draw[: draw.size - draw.size // 2]]))


def copied(monkeypatch):
    noise(monkeypatch, lambda draw, _: np.concatenate([draw[:-1], draw[:1]]))


def laplace(monkeypatch):
    generator = np.random.default_rng()
    noise(monkeypatch, lambda draw, std: generator.laplace(size=draw.size, scale=std / 2**0.5))


def batches(monkeypatch, chosen):
    """Instead of a Poisson sample: `chosen` of a number of units, a batch's size, and how many batches came before."""
    numbers = itertools.count()

    def draw(sampler, _):
        units = len(sampler.rates)
        return sampler.order[chosen(units, round(units * RATE), next(numbers))] if units else sampler.order

    monkeypatch.setattr(UnitSampler, "draw", draw)


def of_one_size(units, size, _):
    return np.sort(np.random.default_rng().choice(units, size, replace=False))


def one_shuffle(units, _, number):
    return np.arange(units)[number % round(1 / RATE) :: round(1 / RATE)]


def drawn_twice(monkeypatch):
    """As where segments are sampled instead of tracks."""
    draw = UnitSampler.draw
    monkeypatch.setattr(UnitSampler, "draw", lambda self, randomness: np.repeat(draw(self, randomness), 2))


def silent_label(monkeypatch):
    """Of two labels, one adds twice the variance and the other nothing: their sum is as declared."""
    numbers = itertools.count()
    noise(monkeypatch, lambda draw, _: draw * (2**0.5 if next(numbers) % 2 else 0))


def other_row(monkeypatch):
    """Sums are added up by other coefficients than those that are accounted for."""
    encode = BandedToeplitz.encode
    first = (3, 3, 3)
    monkeypatch.setattr(
        BandedToeplitz,
        "encode",
        lambda self, sums: encode(
            BandedToeplitz(tuple(a * b for a, b in zip(first, self.coefficients, strict=True))), sums
        ),
    )


def quieter_counts(monkeypatch):
    sample = local_round.sample
    monkeypatch.setattr(
        local_round, "sample", lambda randomness, variance, size: sample(randomness, 0.9 * variance, size)
    )


def exact_histogram(monkeypatch):
    monkeypatch.setattr(
        local_round, "noisy_histogram", lambda counted, classes, *_: np.bincount(counted, minlength=classes)
    )


SCALE, ROUND, COORDINATE = "scale of the noise", "noise in each round", "noise in each coordinate"
REPEATED, COPIED, NEIGHBOURS = "repeated noise", "copied coordinates", "noise of neighbouring catalogues"
RATE_CHECK, SAMPLING = "sampling rate", "independence of sampling"
BOTH = {
    "the same noise in two rounds": (same_in_two_rounds, REPEATED),
    "the same noise in all rounds": (same_in_all_rounds, REPEATED),
    "noise seeded by a clock": (seeded_by_a_clock, REPEATED),
    "sources seeded by a clock": (seeded_by_a_clock, "sources of randomness"),
    "twice the sampling rate": (lambda patch: rates(patch, lambda rate: 2 * rate), RATE_CHECK),
    "no noise on every 20th coordinate": (lambda patch: missing(patch, slice(None, None, 20)), COORDINATE),
    "no noise on one coordinate": (lambda patch: missing(patch, slice(777, 778)), COORDINATE),
    "a quarter of the noise": (lambda patch: noise(patch, lambda draw, _: draw / 4), SCALE),
    "2 % too little noise": (lambda patch: noise(patch, lambda draw, _: 0.98 * draw), SCALE),
    "2 % too much noise": (lambda patch: noise(patch, lambda draw, _: 1.02 * draw), SCALE),
    "noise from the exact number": (noise_from_the_exact_number, SCALE),
    "noise before the clip": (before_the_clip, SCALE),
    "no clip": (without_a_clip, "influence of a unit"),
    "one coordinate's noise copied": (copied, COPIED),
    "Laplace noise": (laplace, "normal distribution"),
}
LOCAL = {
    "noise from the exact number, among neighbours": (noise_from_the_exact_number, NEIGHBOURS, {}),
    "a plan from the exact number": (plan_from_the_exact_number, NEIGHBOURS, {"rounds": 2}),
    "signs alone": (lambda patch: noise(patch, lambda draw, std: std * np.sign(draw)), "normal distribution", {}),
    "mirrored noise": (mirrored, COPIED, {}),
    "noise of half precision": (
        lambda patch: noise(patch, lambda draw, _: draw.astype(np.float16)),
        "fineness of the noise",
        {},
    ),
    "noise that the next round takes away": (
        lambda patch: with_previous(patch, lambda before, draw, number: draw if number % 2 else -before),
        REPEATED,
        {},
    ),
    "a tenth of the last round's noise": (
        lambda patch: with_previous(patch, lambda before, draw, _: 0.1 * before + 0.99**0.5 * draw),
        "independence of the rounds",
        {},
    ),
    "batches of one size": (lambda patch: batches(patch, of_one_size), SAMPLING, {"rounds": 20}),
    "one shuffle for all passes": (lambda patch: batches(patch, one_shuffle), SAMPLING, {}),
    "every other unit drawn twice as often, the rest never": (
        lambda patch: rates(patch, lambda rate: rate * (np.arange(len(rate)) % 2 * 2)),
        SAMPLING,
        {"rounds": 24},
    ),
    "units drawn twice": (drawn_twice, RATE_CHECK, {}),
    "held-out counts with 5 % less noise": (quieter_counts, "noise of held-out counts", {}),
    "an exact class histogram": (exact_histogram, "noise of class counts", {"balance": Balance.LOSS}),
}


@pytest.mark.parametrize(("plant", "check"), BOTH.values(), ids=BOTH)
@pytest.mark.parametrize("config", [local, distributed])
def test_a_fault_in_either_kind_of_noise_is_found(monkeypatch, config, plant, check):
    config = config()
    plant(monkeypatch)
    assert check in alarms(config)


@pytest.mark.parametrize(("plant", "check", "changes"), LOCAL.values(), ids=LOCAL)
def test_a_fault_at_one_label_is_found(monkeypatch, plant, check, changes):
    config = local(**changes)
    plant(monkeypatch)
    assert check in alarms(config)


def test_a_label_that_adds_no_noise_of_its_own_is_found(monkeypatch):
    config = distributed()
    silent_label(monkeypatch)
    assert ROUND in alarms(config)


def test_a_matrix_that_is_not_the_declared_one_is_found(monkeypatch):
    config = in_turns()
    other_row(monkeypatch)
    assert "influence of a unit" in alarms(config)


def test_a_quarter_of_the_noise_refutes_epsilon_itself(monkeypatch):
    """At q = 0.1, where an audit that took the declared noise for granted found nothing."""
    audited = Audited(local(rounds=30), DECLARED)
    event = PoissonGaussian(RATE, audited.plan.noise_multiplier / 4, 30)
    assert epsilon([event], audited.plan.delta) > 30
    noise(monkeypatch, lambda draw, _: draw / 4)
    assert audit(audited).bounds["rounds"].epsilon > audited.plan.epsilon


def test_bounds_on_epsilon_say_something_and_refute_nothing_that_is_true():
    found = audit(Audited(local(batch_size=DECLARED, epsilon=8.0), DECLARED))
    assert found.passed
    for bound in found.bounds.values():
        assert 0.5 < bound.epsilon < found.epsilon
