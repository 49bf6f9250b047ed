"""ε agrees with computations that share no code with the accountant."""

import math

import numpy as np
import pytest
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.special import ndtr
from scipy.stats import norm

from sottovoce.errors import PrivacyError, UnknownPrivacyEvent
from sottovoce.privacy import accountant, lower_bound
from sottovoce.privacy.accountant import check_delta, epsilon, epsilon_rdp, to_dp_event
from sottovoce.privacy.events import DiscreteGaussianSum, Gaussian, HeldOutCounts, NonPrivate, PoissonGaussian, merged
from sottovoce.privacy.lower_bound import epsilon_lower


def hockey_stick(rate: float, noise: float, at: float) -> float:
    """δ of one step by direct integration of max(0, P − e^ε Q), the larger of adding and removing a unit."""

    def without(x):
        return norm.pdf(x, scale=noise)

    def having(x):
        return (1 - rate) * norm.pdf(x, scale=noise) + rate * norm.pdf(x, loc=1, scale=noise)

    points = np.linspace(-12 * noise, 1 + 12 * noise, 200_001)

    def beyond(p, q):
        return np.trapezoid(np.maximum(p(points) - math.exp(at) * q(points), 0), points)

    return max(beyond(having, without), beyond(without, having))


def composed_delta(rate: float, noise: float, steps: int, at: float, mechanism: float = 2e-3) -> float:
    """δ of many steps: the privacy loss of one, rounded to the nearest grid point, convolved by FFT, both ways.

    A sampled step compares the mixture (1−q)N(0, z²) + qN(1, z²) with N(0, z²); the loss rises with x.
    """
    points = np.linspace(-14 * noise, 1 + 14 * noise, 400_001)
    loss = np.log1p(rate * np.expm1((2 * points - 1) / (2 * noise**2)))
    plain = np.diff(ndtr(points / noise))
    mixed = (1 - rate) * plain + rate * np.diff(ndtr((points - 1) / noise))
    middle = (loss[1:] + loss[:-1]) / 2
    found = 0.0
    for weights, values in ((mixed, middle), (plain, -middle)):
        size = 1 << 17
        bins = np.round(values / mechanism).astype(int)
        one = np.bincount(bins % size, weights=weights, minlength=size)
        together = np.fft.irfft(np.fft.rfft(one) ** steps, size)
        losses = mechanism * np.where(np.arange(size) < size // 2, np.arange(size), np.arange(size) - size)
        above = losses > at
        found = max(found, float((together[above] * -np.expm1(at - losses[above])).sum()))
    return found


@pytest.mark.parametrize(("rate", "noise"), [(0.02, 0.7), (0.2, 1.0), (0.5, 2.0), (1.0, 1.5)])
@pytest.mark.parametrize("delta", [1e-3, 1e-5])
def test_one_step_agrees_with_direct_integration(rate, noise, delta):
    found = epsilon([PoissonGaussian(rate, noise, 1)], delta)
    assert found > 0
    assert hockey_stick(rate, noise, found) <= delta * 1.0001
    assert hockey_stick(rate, noise, found * 0.995) > delta


@pytest.mark.parametrize("noise", [0.8, 3.0, 20.0])
@pytest.mark.parametrize("count", [1, 30])
def test_gaussians_agree_with_their_closed_form(noise, count):
    found = epsilon([Gaussian(noise, count)], 1e-5)
    together = noise / math.sqrt(count)

    def delta(at):  # Balle & Wang 2018, theorem 8
        half, ratio = 0.5 / together, at * together
        return ndtr(half - ratio) - math.exp(at) * ndtr(-half - ratio)

    assert delta(found) <= 1.0001e-5
    assert delta(found * 0.998) > 1e-5
    assert epsilon([PoissonGaussian(1.0, noise, count)], 1e-5) == pytest.approx(found, rel=2e-3)


@pytest.mark.parametrize(("rate", "noise", "steps"), [(0.25, 1.8, 100), (0.05, 0.8, 400), (0.01, 1.0, 1000)])
def test_many_steps_agree_with_a_convolution_of_our_own(rate, noise, steps):
    found = epsilon([PoissonGaussian(rate, noise, steps)], 1e-5)
    assert composed_delta(rate, noise, steps, found) <= 1.02e-5
    assert composed_delta(rate, noise, steps, found * 0.99) > 1e-5


def test_many_steps_agree_with_opacus():
    rate, noise, steps = 0.05, 1.0, 200
    opacus, renyi = PRVAccountant(), RDPAccountant()
    opacus.history = renyi.history = [(noise, rate, steps)]
    found = epsilon([PoissonGaussian(rate, noise, steps)], 1e-5)
    assert found == pytest.approx(opacus.get_epsilon(1e-5, eps_error=0.01), abs=0.02)
    assert found < renyi.get_epsilon(1e-5)
    assert epsilon_rdp([PoissonGaussian(rate, noise, steps)], 1e-5) == pytest.approx(renyi.get_epsilon(1e-5), rel=0.02)


def test_different_mechanisms_compose():
    run, histogram = PoissonGaussian(0.2, 2.0, 60), Gaussian(4.0)
    together = epsilon([run, histogram], 1e-5)
    assert max(epsilon([run], 1e-5), epsilon([histogram], 1e-5)) < together
    assert together < epsilon([run], 5e-6) + epsilon([histogram], 5e-6)
    # Two halves of a run are the run, in any order.
    half = PoissonGaussian(0.2, 2.0, 30)
    assert epsilon([half, histogram, half], 1e-5) == together


@pytest.mark.parametrize("held_out", [HeldOutCounts(400.0, 100, 1, 10, 5), HeldOutCounts(400.0, 9, 3, 10, 5)])
def test_a_unit_is_trained_on_or_held_out_so_that_the_larger_epsilon_holds(held_out):
    trained = Gaussian(2.0)
    sides = epsilon([trained], 1e-5), epsilon([held_out], 1e-5)
    assert epsilon([trained, held_out], 1e-5) == max(sides)
    assert sides[1] == epsilon([DiscreteGaussianSum(1.0, *vars(held_out).values())], 1e-5)


def test_what_is_within_a_factor_of_a_gaussian_costs_twice_its_logarithm_more_at_a_delta_that_is_smaller(monkeypatch):
    events, delta, distance = [Gaussian(1.5), Gaussian(2.5)], 1e-5, 0.05
    expected = epsilon(events, delta * math.exp(-2 * distance)) + 2 * 2 * distance
    accountant._epsilon.cache_clear()
    monkeypatch.setattr(accountant, "closeness", lambda event: distance)
    assert epsilon(events, delta) == pytest.approx(expected, rel=1e-6)
    accountant._epsilon.cache_clear()


def test_a_long_life_of_rounds_is_composed_run_by_run():
    rounds = [PoissonGaussian(0.2 + run / 1000, 4.0, 5) for run in range(5) for _ in range(200)]
    assert len(merged(rounds)) == 5
    assert 0 < epsilon(rounds, 1e-5) < accountant.LARGEST


@pytest.mark.parametrize(
    ("rate", "noise", "steps"),
    [(0.27, 1.8, 100), (0.02, 0.7, 1000), (0.5, 100.0, 50), (0.003, 0.4, 100), (1.0, 2.0, 9)],
)
def test_the_grid_adds_less_than_a_thousandth(monkeypatch, rate, noise, steps):
    events = [PoissonGaussian(rate, noise, steps)]
    found = epsilon(events, 1e-5)
    monkeypatch.setattr(accountant, "GRID", accountant.GRID / 10)
    accountant._epsilon.cache_clear()
    assert found * 0.999 < epsilon(events, 1e-5) <= found * (1 + 1e-6)
    accountant._epsilon.cache_clear()


def test_the_grid_is_as_wide_as_its_constants_say():
    def grid(*events, bound=1.0):
        return accountant._grid(events, bound)

    steps = accountant.GRID_STEPS
    assert grid(Gaussian(2.0)) == grid(PoissonGaussian(0.1, 5.0, steps)) == accountant.GRID
    assert grid(PoissonGaussian(0.1, 5.0, 4 * steps)) == pytest.approx(accountant.GRID / 2)
    assert grid(PoissonGaussian(0.1, 5.0, 2 * steps), PoissonGaussian(0.2, 5.0, 2 * steps)) == grid(
        PoissonGaussian(0.1, 5.0, 4 * steps)
    )
    assert grid(Gaussian(2.0), bound=2.0) == 2 * accountant.GRID
    assert grid(Gaussian(2.0), bound=100.0) == accountant.WIDEST_GRID
    loud = PoissonGaussian(0.1, 0.01, 1)
    assert grid(PoissonGaussian(0.1, 5.0, 1), loud) == accountant._largest_loss(loud) / accountant.MOST_CELLS
    summed = DiscreteGaussianSum(0.1, 100.0, 50, 2, 10, 4 * steps)
    assert grid(summed) == pytest.approx(accountant.GRID / 2)


@pytest.mark.parametrize("noise", [0.05, 0.5, 3.0])
def test_the_largest_loss_is_that_of_an_output_ten_deviations_beyond(noise):
    rate, output = 0.2, 1 + 10 * noise
    ratio = math.exp((2 * output - 1) / (2 * noise**2)) if noise > 0.1 else math.inf
    found = accountant._largest_loss(PoissonGaussian(rate, noise, 1))
    expected = math.log(1 - rate + rate * ratio) if noise > 0.1 else (2 * output - 1) / (2 * noise**2) + math.log(rate)
    assert found == pytest.approx(expected)


def test_whether_a_ceiling_holds_is_told_by_the_smaller_bound_of_each_side(monkeypatch):
    trained, held_out = PoissonGaussian(0.25, 1.8, 100), HeldOutCounts(400.0, 9, 3, 10, 5)
    found, renyi = epsilon([trained], 1e-5), epsilon_rdp([trained], 1e-5)
    assert found < renyi
    assert accountant.is_at_most(found, [trained], 1e-5)
    assert not accountant.is_at_most(found * (1 - 1e-9), [trained], 1e-5)
    less = epsilon([held_out], 1e-5)
    assert less < found
    assert accountant.is_at_most(found, [trained, held_out], 1e-5)
    assert not accountant.is_at_most(less, [held_out, trained], 1e-5)
    monkeypatch.setattr(accountant, "_epsilon", lambda *_: pytest.fail("RDP suffices"))
    assert accountant.is_at_most(renyi, [trained], 1e-5)
    with pytest.raises(PrivacyError, match="δ"):
        accountant.is_at_most(renyi, [trained], 0.0)


def test_nothing_costs_nothing_and_no_privacy_costs_everything():
    assert epsilon([], 1e-5) == 0
    assert epsilon([NonPrivate()], 1e-5) == math.inf
    assert epsilon([Gaussian(5.0), NonPrivate()], 1e-5) == math.inf


def test_hopelessly_little_noise_is_bounded_from_above_quickly():
    found = epsilon([Gaussian(0.001, 100)], 1e-5)
    assert accountant.LARGEST <= found < math.inf
    assert found >= 100 / (2 * 0.001**2)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_delta_must_be_a_probability(delta):
    with pytest.raises(PrivacyError, match="δ"):
        epsilon([Gaussian(1.0)], delta)


@pytest.mark.parametrize(("delta", "units"), [(1e-2, 100), (0.5, 2), (0.0, 5)])
def test_a_delta_that_could_publish_a_unit_is_refused(delta, units):
    with pytest.raises(PrivacyError, match=f"for {units} units") as caught:
        check_delta(delta, units)
    assert caught.value.hint


@pytest.mark.parametrize(("delta", "units"), [(0.99, 0), (0.99, 1), (0.49, 2), (9.9e-3, 100)])
def test_a_delta_below_one_in_the_number_of_units_is_accepted(delta, units):
    check_delta(delta, units)


def test_an_unknown_event_is_never_guessed():
    for interpret in (lambda: to_dp_event("a laplace"), lambda: epsilon_rdp([object()], 1e-5)):
        with pytest.raises(UnknownPrivacyEvent, match="cannot interpret"):
            interpret()


@pytest.mark.parametrize(
    "events",
    [
        [Gaussian(0.8, 30)],
        [PoissonGaussian(1.0, 2.0, 9)],
        [PoissonGaussian(0.01, 64.8, 10_000)],
        [PoissonGaussian(0.27, 1.8, 100), Gaussian(3.0)],
        [PoissonGaussian(0.02, 0.7, 1000), PoissonGaussian(0.03, 0.7, 1000)],
        [DiscreteGaussianSum(0.3, 100.0, 50, 2, 10, 20)],
    ],
)
@pytest.mark.parametrize("delta", [1e-3, 1e-6])
def test_no_attacker_reaches_more_than_is_reported(events, delta):
    assert 0 < epsilon_lower(events, delta) <= epsilon(events, delta) * (1 + accountant.ROUNDING)


def test_the_attacker_reaches_what_is_reported_of_gaussians_and_of_many_tiny_steps():
    for event in (Gaussian(0.8, 30), PoissonGaussian(0.01, 64.8, 10_000)):
        assert epsilon_lower([event], 1e-5) > 0.998 * epsilon([event], 1e-5)


def test_the_attacker_is_the_one_of_the_closed_form():
    # One Gaussian mechanism: the best threshold's ε is the exact one (Balle & Wang 2018).
    assert epsilon_lower([Gaussian(3.730632)], 1e-5) == pytest.approx(1.0, rel=1e-4)


def test_the_attacker_knows_what_a_unit_adds_to_all_sums_and_rounds_it_down():
    parts = [lower_bound._Sums(0.2, 2.0, 50), lower_bound._Sums(0.01, 1.0, 300), lower_bound._Sums(1.0, 4.0, 7)]
    values, chances = lower_bound._shift(parts)
    assert (np.diff(values) > 0).all()
    assert chances.sum() == pytest.approx(1, abs=1e-9)
    mean, deviation = values @ chances, math.sqrt(values**2 @ chances - (values @ chances) ** 2)
    expected = [part.steps * part.rate**2 / part.noise**2 for part in parts]
    spread = [part.steps * part.rate * (1 - part.rate) * (part.rate / part.noise**2) ** 2 for part in parts]
    cell = values[1] - values[0]
    assert cell < 1e-3 * sum(expected)
    assert sum(expected) - 3 * cell <= mean <= sum(expected)
    assert deviation == pytest.approx(math.sqrt(sum(spread)), rel=1e-2)
    always = lower_bound._shift([parts[2]])
    assert [each.tolist() for each in always] == [[7 / 16], [1.0]]


def test_the_attacker_does_not_guess_what_it_has_no_attack_on():
    with pytest.raises(UnknownPrivacyEvent, match="does not cover HeldOutCounts"):
        epsilon_lower([HeldOutCounts(400.0, 9, 3, 10, 5)], 1e-5)
    assert epsilon_lower([Gaussian(1.0), NonPrivate()], 1e-5) == math.inf
    assert epsilon_lower([], 1e-5) == epsilon_lower([Gaussian(1e6)], 1e-5) == epsilon_lower([Gaussian(1.0)], 0.9) == 0


@pytest.mark.parametrize("delta", [1e-2, 1e-9])
@pytest.mark.parametrize(
    "events",
    [
        [Gaussian(0.01)],
        [Gaussian(1.0), Gaussian(30.0, 5)],
        [Gaussian(1000.0)],
        [PoissonGaussian(0.01, 20.0, 10)],
        [PoissonGaussian(0.2, 0.8, 3), Gaussian(50.0)],
        [DiscreteGaussianSum(1.0, 100.0, 50, 2, 10, 20)],
    ],
    ids=str,
)
def test_orders_are_left_out_only_where_they_cannot_give_less(monkeypatch, events, delta):
    found = epsilon_rdp(events, delta)
    every = tuple(order for orders in accountant._ORDERS for order in orders)
    monkeypatch.setattr(accountant, "_ORDERS", (every,))
    assert epsilon_rdp(events, delta) == found


def test_orders_are_left_out(monkeypatch):
    tried = []
    real = accountant.RdpAccountant
    monkeypatch.setattr(
        accountant, "RdpAccountant", lambda orders, *rest: tried.append(max(orders)) or real(orders, *rest)
    )
    epsilon_rdp([Gaussian(1.0)], 1e-5)
    assert tried == [16]


def test_an_order_costs_what_was_published_beyond_its_divergence():
    for order, delta in ((2, 1e-3), (64, 1e-5), (4096, 1e-9)):
        alone = accountant.RdpAccountant([order])
        alone.compose(to_dp_event(Gaussian(1.0)))
        assert alone.get_epsilon(delta) - float(alone.rdp[0]) == pytest.approx(accountant._conversion(order, delta))


def test_the_smaller_of_two_upper_bounds_is_reported(monkeypatch):
    event = PoissonGaussian(0.25, 1.8, 100)
    found, renyi = epsilon([event], 1e-5), epsilon_rdp([event], 1e-5)
    monkeypatch.setattr(accountant, "_epsilon_pld", lambda *_: 2 * renyi)
    accountant._epsilon.cache_clear()
    assert epsilon([event], 1e-5) == renyi > found
    accountant._epsilon.cache_clear()


def test_an_epsilon_that_an_attacker_refutes_stops_everything(monkeypatch):
    monkeypatch.setattr(accountant, "epsilon_rdp", lambda events, delta: 0.5)
    with pytest.raises(PrivacyError, match=r"reports ε = 0\.5, an attack ε = 4\.72"):
        epsilon([Gaussian(0.9371)], 1e-5)


@pytest.mark.parametrize(("above", "refuted"), [(0.5, False), (2.0, True)])
def test_floating_point_is_no_refutation(monkeypatch, above, refuted):
    event = Gaussian(2.1)
    found = epsilon([event], 1e-5)
    accountant._epsilon.cache_clear()
    reached = found * (1 + above * accountant.ROUNDING)
    monkeypatch.setattr(accountant, "epsilon_lower", lambda events, _: reached if events else 0)
    if refuted:
        with pytest.raises(PrivacyError, match="nothing is trained"):
            epsilon([event], 1e-5)
    else:
        assert epsilon([event], 1e-5) == found
    accountant._epsilon.cache_clear()
