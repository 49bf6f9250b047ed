"""Sums of discrete Gaussians cost what the accountant says: compared with exact distributions in one dimension."""

import math

import numpy as np
import pytest

from sottovoce.errors import UnknownPrivacyEvent
from sottovoce.privacy.accountant import epsilon
from sottovoce.privacy.discrete_gaussian_sum import LEAST_VARIANCE, SMOOTHING, closeness, continuous, deviation
from sottovoce.privacy.events import DiscreteGaussianSum, Gaussian, PoissonGaussian, from_json, merged, to_json, within


def an_event(**changes):
    values = {"sample_rate": 1.0, "variance": 400.0, "norm_squared": 900, "min_honest": 3, "dimension": 1, "steps": 1}
    return DiscreteGaussianSum(**{**values, **changes})


def pmf(variance, reach=4000):
    x = np.arange(-reach, reach + 1)
    weights = np.exp(-(x.astype(float) ** 2) / (2 * variance))
    return weights / weights.sum()


def pmf_of_sum(variance, min_honest, reach=4000):
    found = pmf(variance, reach)
    for _ in range(min_honest - 1):
        found = np.convolve(found, pmf(variance, reach), mode="same")
    return found


def exact_delta(event, at):
    """δ of one step in one dimension, with a unit that adds exactly the largest norm; the worse of adding, removing."""
    plain = pmf_of_sum(event.variance, event.min_honest)
    shift = math.isqrt(event.norm_squared)
    assert shift**2 == event.norm_squared
    moved = np.roll(plain, shift)
    having = (1 - event.sample_rate) * plain + event.sample_rate * moved
    return max(np.maximum(having - math.exp(at) * plain, 0).sum(), np.maximum(plain - math.exp(at) * having, 0).sum())


@pytest.mark.parametrize("min_honest", [1, 2, 5])
@pytest.mark.parametrize("rate", [1.0, 0.2])
@pytest.mark.parametrize("norm", [4, 30, 60])
def test_one_step_costs_no_more_than_is_said_and_not_much_less(min_honest, rate, norm):
    event = an_event(min_honest=min_honest, sample_rate=rate, norm_squared=norm**2)
    delta = 1e-5
    said = epsilon([event], delta)
    assert exact_delta(event, said) <= delta
    # 1 % for the grid of losses, and what the proof gives away of a small variance.
    given_away = 1 / math.sqrt(1 - 4 / (min_honest * event.variance)) - 1
    assert exact_delta(event, said * (0.98 - given_away)) > delta


def test_a_sum_is_as_near_to_one_discrete_gaussian_as_the_proof_says():
    for variance, min_honest in ((0.25, 2), (0.5, 3), (0.3, 4)):
        ratio = pmf_of_sum(variance, min_honest, 60)[40:81] / pmf(min_honest * variance, 60)[40:81]
        bound = math.prod(
            (1 + deviation(variance * k / (k + 1))) / (1 - deviation(variance * k / (k + 1)))
            for k in range(1, min_honest)
        )
        assert 1 / bound <= ratio.min() < ratio.max() <= bound
        # The bound is of the right size, not merely large.
        assert bound - 1 < 30 * (ratio.max() - 1)


@pytest.mark.parametrize("variance", [0.05, 0.2, 0.5])
def test_deviation_is_that_of_the_shifted_sums(variance):
    x = np.arange(-60, 61)
    sums = [np.exp(-((x - shift) ** 2) / (2 * variance)).sum() for shift in np.linspace(0, 1, 101)]
    off = np.abs(np.array(sums) / math.sqrt(2 * math.pi * variance) - 1).max()
    assert deviation(variance) >= off * (1 - 1e-9)
    assert deviation(variance) == pytest.approx(off, rel=1e-2)


def test_the_distance_is_beyond_all_figures_at_any_variance_that_is_accounted_for():
    assert closeness(an_event(variance=LEAST_VARIANCE, min_honest=50, dimension=10_000_000, steps=10_000)) < 1e-18


def test_the_distance_grows_with_steps_labels_and_dimension():
    once = closeness(an_event(dimension=10))
    assert closeness(an_event(dimension=10, steps=3)) == pytest.approx(3 * once, abs=0)
    assert closeness(an_event(dimension=20)) == pytest.approx(2 * once, abs=0)
    assert closeness(an_event(variance=8.0, min_honest=2)) > closeness(an_event(variance=8.0, min_honest=1))
    assert closeness(Gaussian(1.0)) == 0


def test_small_noise_is_refused_and_never_guessed():
    with pytest.raises(UnknownPrivacyEvent, match=r"Discrete noise of variance 7\.9"):
        epsilon([an_event(variance=7.9)], 1e-5)


def test_it_is_accounted_for_as_slightly_less_continuous_noise():
    event = an_event(steps=10, sample_rate=0.3)
    assert continuous(event) == PoissonGaussian(0.3, math.sqrt((3 * 400 - 4) / 900), 10)
    assert epsilon([event], 1e-5) == pytest.approx(
        epsilon([PoissonGaussian(0.3, event.noise_multiplier, 10)], 1e-5), rel=5e-3
    )
    assert epsilon([event], 1e-5) > epsilon([PoissonGaussian(0.3, event.noise_multiplier, 10)], 1e-5)


def test_more_honest_labels_cost_less():
    assert epsilon([an_event(min_honest=4)], 1e-5) < epsilon([an_event(min_honest=3)], 1e-5)


def test_it_composes_with_other_events():
    both = epsilon([an_event(), Gaussian(2.0)], 1e-5)
    assert max(epsilon([an_event()], 1e-5), epsilon([Gaussian(2.0)], 1e-5)) < both


def test_it_is_kept_and_added_up_like_the_others():
    event = an_event(steps=3)
    assert from_json(to_json(event)) == event
    assert to_json(event)["honest"] == event.min_honest  # as ledgers have it, whose rows are chained
    assert merged([event, an_event(steps=4)]) == (an_event(steps=7),)
    assert within([event], [an_event(steps=3)])
    assert not within([event], [an_event(steps=2)])
    assert not within([event], [an_event(steps=3, min_honest=4)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_rate", 0.0), ("sample_rate", 1.5), ("variance", 0.0), ("variance", math.inf), ("variance", math.nan),
        ("norm_squared", 0), ("norm_squared", 1.5), ("min_honest", 0), ("dimension", 0), ("steps", 0), ("steps", True),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(name, value):
    with pytest.raises(UnknownPrivacyEvent):
        an_event(**{name: value})


@pytest.mark.parametrize("honest", [1, 2, 3])
def test_closeness_is_that_of_every_number_of_every_step(honest):
    """Each label's draw after the first, and the smoothing twice, differs by ln((1 + η)/(1 − η)); η is a theta sum."""

    def difference(variance):
        eta = 2 * sum(math.exp(-2 * math.pi**2 * variance * k * k) for k in (1, 2, 3))
        return math.log1p(eta) - math.log1p(-eta)

    event = DiscreteGaussianSum(0.5, LEAST_VARIANCE, 9, honest, 10, 7)
    added = sum(difference(LEAST_VARIANCE * k / (k + 1)) for k in range(1, honest))
    assert closeness(event) == pytest.approx(7 * 10 * (added + 2 * difference(SMOOTHING)), rel=1e-9, abs=0)
