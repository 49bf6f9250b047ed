import math
from dataclasses import replace

import pytest

from sottovoce.errors import ConfigurationError, PrivacyError
from sottovoce.privacy import calibration
from sottovoce.privacy.accountant import epsilon
from sottovoce.privacy.calibration import AIM, CLASS_RATE_CAP, gaussian_delta, plan_for, single_noise, with_least_noise
from sottovoce.privacy.discrete_gaussian_sum import LEAST_VARIANCE, SMOOTHING
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.events import Gaussian, HeldOutCounts, PoissonGaussian
from sottovoce.privacy.held_out import CounterShape, held_out_counts
from sottovoce.privacy.padding import padded_batch
from sottovoce.privacy.plan import PrivacyPlan
from sottovoce.run.configuration import Balance, DistributedNoise, Trust, Unit


@pytest.mark.parametrize("balance", Balance)
@pytest.mark.parametrize(("units", "ceiling"), [(60, 1.0), (480, 8.0), (480, 0.2), (3000, 3.0), (3000, 40.0)])
def test_a_plan_keeps_its_ceiling_and_wastes_little(config, balance, units, ceiling):
    config = config.changed(balance=balance, epsilon=ceiling)
    plan = plan_for(config, units)
    assert epsilon(plan.events(), config.delta) == plan.epsilon
    assert 0.98 * ceiling < plan.epsilon <= ceiling == plan.epsilon_ceiling
    less = PoissonGaussian(plan.sample_rate, 0.985 * plan.noise_multiplier, plan.steps)
    assert epsilon([*plan.events()[:-1], less], config.delta) > ceiling


def test_a_plan_says_how_to_train(config):
    plan = plan_for(config, 512)
    assert plan.base_rate == plan.sample_rate == 128 / 512
    assert plan.steps == 100
    assert plan.noise_std == plan.noise_multiplier * 1.5
    assert (plan.unit, plan.trust, plan.delta) == (Unit.TRACK, Trust.LOCAL, 1e-5)
    assert plan.histogram_noise is None
    assert plan.events() == (PoissonGaussian(0.25, plan.noise_multiplier, 100),)
    assert plan.events(5) == (PoissonGaussian(0.25, plan.noise_multiplier, 5),)


def test_a_label_smaller_than_the_batch_takes_all(config):
    plan = plan_for(config, 50)
    assert plan.base_rate == plan.sample_rate == 1
    assert replace(plan_for(config, 1), padded_batch=plan.padded_batch) == plan


def test_a_delta_near_one_half_is_planned_for(config):
    """Much noise then costs nothing at all, of which there is no logarithm."""
    plan = plan_for(config.changed(delta=0.4, epsilon=0.5), 2)
    assert 0 < plan.epsilon <= 0.5


def test_where_the_search_ends_above_the_ceiling_noise_is_added_until_it_is_kept(config, distributed, monkeypatch):
    monkeypatch.setattr(calibration, "AIM", 1.01)
    calibration._least_noise.cache_clear()
    assert 0.99 * 8.0 < plan_for(config, 480).epsilon <= 8.0
    shared = with_least_noise(distributed, 10, 5)
    assert 0.99 * 8.0 < epsilon([event_of(shared)], 1e-5) <= 8.0
    calibration._least_noise.cache_clear()


def test_the_class_histogram_is_part_of_the_plan(config):
    plain, weighted = plan_for(config, 480), plan_for(config.changed(balance=Balance.LOSS), 480)
    assert weighted.sample_rate == plain.sample_rate
    assert weighted.events() == (Gaussian(weighted.histogram_noise), *weighted.events(histogram=False))
    assert 1 < weighted.noise_multiplier / plain.noise_multiplier < 1.03
    assert epsilon([Gaussian(weighted.histogram_noise)], 1e-5) < 0.2 * config.epsilon


def test_class_aware_sampling_is_accounted_for_at_its_largest_rate(config):
    config = config.changed(balance=Balance.SAMPLING)
    plan = plan_for(config, 1024)
    assert plan.base_rate == 0.125
    assert plan.sample_rate == CLASS_RATE_CAP * 0.125
    assert plan.events()[-1].sample_rate == plan.sample_rate
    assert plan_for(config, 200).sample_rate == 1


def test_a_label_may_promise_more_than_the_run_asks_for_but_not_less(config):
    run = plan_for(config, 480)
    assert plan_for(config, 480, epsilon=2.0).epsilon <= 2.0
    assert plan_for(config, 480, epsilon=2.0).noise_multiplier > run.noise_multiplier
    assert plan_for(config, 480, epsilon=100.0) == run
    assert plan_for(config, 480, delta=1e-6).delta == 1e-6
    assert plan_for(config, 480, delta=1e-3) == run


def test_bigger_catalogues_need_less_noise(config):
    noises = [plan_for(config, units).noise_multiplier for units in (100, 400, 1600)]
    assert noises == sorted(noises, reverse=True)


def test_calibration_is_remembered(config):
    calibration._least_noise.cache_clear()
    plan = plan_for(config.changed(balance=Balance.LOSS), 467)
    assert plan_for(config.changed(balance=Balance.LOSS), 467) == plan
    assert (calibration._least_noise.cache_info().misses, calibration._least_noise.cache_info().hits) == (1, 1)


def test_what_cannot_be_planned_is_named(config, monkeypatch):
    with pytest.raises(ConfigurationError, match="without privacy"):
        plan_for(config.changed(private=False), 100)
    with pytest.raises(ConfigurationError, match="no units to train on"):
        plan_for(config, 0)
    with pytest.raises(PrivacyError, match="too large for 200 units"):
        plan_for(config.changed(delta=0.01), 200)
    monkeypatch.setattr(calibration, "LARGEST_NOISE", 5.0)
    with pytest.raises(PrivacyError, match=r"No amount of noise keeps ε = 0\.3 at δ = 1e-05"):
        plan_for(config.changed(epsilon=0.3), 200)


def test_whether_there_is_a_plan_says_nothing_of_the_number_of_units(config, monkeypatch):
    """A coordinator could vary batch size and steps, and search for the catalogue's size by a label's refusals."""
    monkeypatch.setattr(calibration, "LARGEST_NOISE", 5.0)
    config = config.changed(epsilon=3.0, batch_size=16)
    for units in (16, 160, 1600):
        with pytest.raises(PrivacyError, match="No amount of noise keeps"):
            plan_for(config, units)


def event_of(config):
    """What a run with distributed noise costs a unit, of ten parameters and among five labels."""
    mechanism = DistributedDiscreteGaussian.of(config, 10, 5)
    return mechanism.event(config.distributed.min_honest, config.distributed.sample_rate, config.steps)


@pytest.fixture
def distributed(config):
    noise = DistributedNoise(min_honest=3, noise_multiplier=1.0, sample_rate=0.2)
    return config.changed(local_steps=1, distributed=noise)


def test_distributed_noise_is_the_least_that_keeps_the_runs_promise(config, distributed):
    found = with_least_noise(distributed, 10, 5)
    assert found == distributed.changed(distributed=found.distributed)
    assert replace(found.distributed, noise_multiplier=1.0) == distributed.distributed
    assert 0.98 * 8.0 < epsilon([event_of(found)], 1e-5) <= 8.0
    with pytest.raises(ConfigurationError, match="distributed noise"):
        with_least_noise(config, 10, 5)


def test_a_plan_of_distributed_noise_says_what_the_runs_noise_costs(distributed):
    config = with_least_noise(distributed, 10, 5)
    mechanism = DistributedDiscreteGaussian.of(config, 10, 5)
    plan = plan_for(config, 200, mechanism=mechanism)
    assert plan.events() == (event_of(config),)
    assert plan.epsilon == epsilon(plan.events(), 1e-5)
    assert (plan.trust, plan.min_honest, plan.mechanism) == (Trust.DISTRIBUTED, 3, mechanism)
    assert (plan.base_rate, plan.sample_rate) == (0.2, 0.2)
    assert plan.noise_multiplier == config.distributed.noise_multiplier
    assert plan_for(config, 200, mechanism=mechanism, epsilon=plan.epsilon).epsilon_ceiling == plan.epsilon
    with pytest.raises(PrivacyError, match="above the ceiling of 7"):
        plan_for(config, 200, mechanism=mechanism, epsilon=7.0)
    with pytest.raises(PrivacyError, match="Expected min_honest="):
        replace(plan, min_honest=0)


def test_noise_on_a_coarse_grid_is_raised_until_the_guarantee_holds(distributed):
    """There, the proof for whole numbers loses so much that the least noise of a continuous Gaussian is too little."""
    noise = DistributedNoise(2, 1.0, 1.0)
    config = distributed.changed(distributed=noise, ring_bits=16, epsilon=50.0, rounds=1, evaluations=0)
    for parameters in (10, 1_000):
        run = with_least_noise(config, parameters, 20)
        event = DistributedDiscreteGaussian.of(run, parameters, 20).event(2, 1.0, run.steps)
        assert 0.98 * 50.0 < epsilon([event], run.delta) <= 50.0


def test_a_plan_has_its_padded_batch_and_the_histograms_share(config):
    config = config.changed(balance=Balance.SAMPLING)
    plan = plan_for(config, 512)
    assert plan.padded_batch == padded_batch(config, 512, plan.delta)
    assert plan.histogram_noise == pytest.approx(single_noise(config.epsilon, plan.delta) / math.sqrt(0.04))


def test_a_mechanism_comes_with_distributed_noise_and_only_then(config, distributed):
    mechanism = DistributedDiscreteGaussian.of(distributed, 10, 5)
    for run, given in ((distributed, None), (config, mechanism)):
        with pytest.raises(ConfigurationError, match="mechanism"):
            plan_for(run, 200, mechanism=given)


def test_the_closed_form_of_the_gaussian_is_the_published_one():
    # Balle & Wang 2018: σ = 3.730632 is (1, 1e-5)-DP, which the classical bound would call 4.84.
    assert gaussian_delta(1.0, 3.730632) == pytest.approx(1e-5, rel=1e-4)
    assert gaussian_delta(800.0, 1.0) == pytest.approx(0)


@pytest.mark.parametrize("ceiling", [0.5, 8.0])
def test_all_evaluations_together_get_the_least_noise_that_keeps_the_guarantee(config, distributed, ceiling):
    shape = CounterShape(norm_squared=700, dimension=5)
    for run, honest in ((config, 1), (distributed, 3)):
        found = held_out_counts(run, shape, epsilon=ceiling, delta=1e-6)
        assert (found.norm_squared, found.dimension, found.honest, found.count) == (700, 5, honest, 5)
        assert 0.97 * ceiling < epsilon([found], 1e-6) <= ceiling
        enough = (single_noise(AIM * ceiling, 1e-6) ** 2) * found.count * found.norm_squared
        assert honest * found.variance - SMOOTHING == pytest.approx(enough)  # what stands for a continuous Gaussian


def test_evaluations_always_have_some_noise_but_without_privacy(config):
    shape = CounterShape(norm_squared=1, dimension=5)
    assert held_out_counts(config, shape, epsilon=400.0, delta=1e-6).variance == LEAST_VARIANCE
    assert held_out_counts(config.changed(private=False), shape, epsilon=8.0, delta=1e-6) is None
    assert held_out_counts(config.changed(evaluations=0), shape, epsilon=8.0, delta=1e-6) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_rate", 0.0),
        ("base_rate", 0.6),
        ("sample_rate", 1.1),
        ("noise_multiplier", 0.0),
        ("noise_multiplier", math.nan),
        ("max_grad_norm", math.inf),
        ("steps", 0),
        ("histogram_noise", 0.0),
        ("padded_batch", -1),
        ("delta", 0.0),
        ("delta", 1.0),
        ("epsilon", -0.5),
        ("epsilon", 9.0),
    ],
)
def test_a_plan_is_checked_at_birth(name, value):
    right = {
        "unit": Unit.TRACK, "trust": Trust.LOCAL, "base_rate": 0.25, "sample_rate": 0.5,
        "noise_multiplier": 1.0, "max_grad_norm": 1.0, "steps": 3, "histogram_noise": None, "epsilon": 4.0,
        "delta": 1e-5, "epsilon_ceiling": 8.0,
    }  # fmt: skip
    PrivacyPlan(**right | {"steps": 1, "epsilon": 0.0, "base_rate": 0.5})
    PrivacyPlan(**right | {"sample_rate": 1.0, "noise_multiplier": 0.5, "max_grad_norm": 0.5, "epsilon": 8.0})
    PrivacyPlan(**right | {"histogram_noise": 0.5, "padded_batch": 1})
    with pytest.raises(PrivacyError, match=f"Expected {name}="):
        PrivacyPlan(**(right | {name: value}))


def test_a_run_costs_all_of_its_evaluations_and_each_its_own(config):
    plan = plan_for(config.changed(balance=Balance.LOSS), 200)
    assert (plan.evaluation(), plan.whole_run) == ((), plan.events())
    counted = HeldOutCounts(400.0, 9, 1, 10, 5)
    plan = replace(plan, evaluations=counted)
    assert plan.evaluation() == (replace(counted, count=1),)
    assert plan.whole_run == (*plan.events(), counted)


def test_a_plan_of_distributed_noise_needs_its_mechanism(config):
    """Without one, a label would train as if all noise were its own, and be accounted for as one of several."""
    plan = plan_for(config, 200)
    with pytest.raises(PrivacyError, match="Expected mechanism="):
        replace(plan, trust=Trust.DISTRIBUTED)
    with pytest.raises(PrivacyError, match="Expected min_honest="):
        replace(plan, min_honest=2)
