"""The accountant: ε of privacy events for a given δ, under add-or-remove-one-unit.

Two upper bounds are computed and the smaller one is reported, since both hold:

- privacy loss distributions (PLD; Koskela et al., AISTATS 2020; Doroshenko et al., PoPETs 2022) by `dp-accounting`, on
  a grid that never puts the result below the true ε (pessimistic connect-the-dots);
- Rényi DP (RDP; Mironov, CSF 2017), by its own formulas.

`sottovoce.privacy.lower_bound` is the cross-check: an ε below what an attack achieves is never reported.
"""

import math
from collections.abc import Iterable
from functools import lru_cache

import dp_accounting as dp
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from sottovoce.errors import PrivacyError, UnknownPrivacyEvent
from sottovoce.privacy.discrete_gaussian_sum import closeness, continuous
from sottovoce.privacy.events import (
    DiscreteGaussianSum,
    Event,
    Gaussian,
    HeldOutCounts,
    NonPrivate,
    PoissonGaussian,
    merged,
)
from sottovoce.privacy.lower_bound import epsilon_lower

NEIGHBOURS = "add-or-remove-one-unit"
"""Neighbouring relation of every ε here: one data set has one unit more than the other."""

ACCOUNTANT = "PLD"
GRID = 3e-4
"""Width of the grid of privacy losses, as a share of the ε that RDP gives, up to `GRID_STEPS` steps."""
GRID_STEPS = 30_000
"""Number of steps above which the grid narrows with their square root, as the loss of a single step does."""
WIDEST_GRID = 5e-3
MOST_CELLS = 1 << 22
"""Largest number of grid cells for the losses of one step; more would exhaust memory before they improve on RDP."""
LARGEST = 500.0
"""Largest ε that PLD refines; above it, RDP's bound is reported."""
ROUNDING = 1e-6
"""Relative tolerance within which floating point may separate two equal ε."""

# Whole orders have a closed form at every sampling rate (Mironov, Talwar & Zhang 2019, section 3.3), whose number of
# terms is the order. Groups of them are tried, smallest first.
_ORDERS = (
    range(2, 17), range(17, 33), range(33, 49), range(49, 65),
    *((order,) for order in (80, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096)),
)  # fmt: skip


def to_dp_event(event: Event) -> dp.DpEvent:
    """Convert an event to `dp-accounting`'s form.

    Raises:
        UnknownPrivacyEvent: the accountant cannot interpret the event.
    """
    match event:
        case DiscreteGaussianSum():
            return to_dp_event(continuous(event))  # the caller adds `closeness`
        case PoissonGaussian(sample_rate, noise_multiplier, steps):
            once = dp.PoissonSampledDpEvent(sample_rate, dp.GaussianDpEvent(noise_multiplier))
            return dp.SelfComposedDpEvent(once, steps)
        case Gaussian(noise_multiplier, count):
            return dp.SelfComposedDpEvent(dp.GaussianDpEvent(noise_multiplier), count)
        case NonPrivate():
            return dp.NonPrivateDpEvent()
    raise UnknownPrivacyEvent(f"The accountant cannot interpret {type(event).__name__}.")


def check_delta(delta: float, units: int) -> None:
    """Refuse a δ that would allow publishing one of `units` units outright.

    Raises:
        PrivacyError: δ is not in (0, 1/units).
    """
    if not 0 < delta < 1 / max(units, 1):
        raise PrivacyError(
            f"δ = {delta:g} is too large for {units} units: it must be below 1/{units}.",
            hint="Lower δ; 1e-5 suits catalogues below 100,000 tracks.",
        )


def epsilon(events: Iterable[Event], delta: float) -> float:
    """The smallest provable ε of all events together, at this δ; `inf` if one of them is not private.

    A unit is either trained on or held out, permanently. So the events of each side are composed separately, and the
    larger ε is returned (parallel composition over a fixed partition).

    Raises:
        UnknownPrivacyEvent: the accountant cannot interpret an event.
        PrivacyError: δ is not in (0, 1), or the lower bound refutes the ε that was computed.
    """
    return max(_epsilon(side, delta) for side in _sides(events, delta))


def is_at_most(ceiling: float, events: Iterable[Event], delta: float) -> bool:
    """Whether `epsilon` of these events is at most a ceiling, by its cheaper bound where that is enough.

    Composing privacy loss distributions takes longer with each mechanism that differs from the others; RDP hardly.

    Raises:
        UnknownPrivacyEvent, PrivacyError: as with `epsilon`.
    """
    sides = _sides(events, delta)
    return all(_rdp(side, delta) <= ceiling or _epsilon(side, delta) <= ceiling for side in sides)


def _sides(events: Iterable[Event], delta: float) -> tuple[tuple[Event, ...], tuple[Event, ...]]:
    """What trained units pay, and what held-out ones do."""
    if not 0 < delta < 1:
        raise PrivacyError(f"Expected δ = {delta} in (0, 1).")
    events = tuple(events)
    held_out = [event.sums for event in events if isinstance(event, HeldOutCounts)]
    return merged(event for event in events if not isinstance(event, HeldOutCounts)), merged(held_out)


@lru_cache(maxsize=1024)
def _rdp(events: tuple[Event, ...], delta: float) -> float:
    return epsilon_rdp(events, delta)


@lru_cache(maxsize=1024)
def _epsilon(events: tuple[Event, ...], delta: float) -> float:
    found = _rdp(events, delta)
    if 0 < found < LARGEST:
        found = min(found, _epsilon_pld(events, delta, _grid(events, found)))
    reached = epsilon_lower(events, delta)
    if not found >= reached * (1 - ROUNDING):
        raise PrivacyError(
            f"The accountant reports ε = {found:.4g}, an attack ε = {reached:.4g}: nothing is trained.",
            hint="This is a bug in the accountant: report it with the output of `sottovoce label ledger`.",
        )
    return found


def _epsilon_pld(events: Iterable[Event], delta: float, grid: float) -> float:
    accountant = PLDAccountant(dp.NeighboringRelation.ADD_OR_REMOVE_ONE, grid)
    for event in events:
        accountant.compose(to_dp_event(event))
    return _relaxed(accountant, delta, sum(closeness(event) for event in events))


def _grid(events: tuple[Event, ...], bound: float) -> float:
    """Width of the grid: fine relative to the loss of one step, coarse enough for memory."""
    sampled = [continuous(event) if isinstance(event, DiscreteGaussianSum) else event for event in events]
    steps = [event for event in sampled if isinstance(event, PoissonGaussian)]
    fine = bound * GRID / math.sqrt(max(1.0, sum(event.steps for event in steps) / GRID_STEPS))
    widest = max((_largest_loss(event) for event in steps), default=0.0)
    return max(min(fine, WIDEST_GRID), widest / MOST_CELLS)


def _largest_loss(event: PoissonGaussian) -> float:
    """The privacy loss of one step ten standard deviations above a sampled unit's mean."""
    exponent = (1 / event.noise_multiplier + 20) / (2 * event.noise_multiplier)
    return (
        exponent + math.log(event.sample_rate)
        if exponent > 50
        else math.log1p(event.sample_rate * math.expm1(exponent))
    )


def epsilon_rdp(events: Iterable[Event], delta: float) -> float:
    """A looser ε by Rényi DP, computed from its own formulas.

    Raises:
        UnknownPrivacyEvent: the accountant cannot interpret an event.
    """
    events = tuple(events)
    composed = []
    for event in events:
        if isinstance(event, NonPrivate):
            return math.inf
        composed.append(to_dp_event(event))
    distance = sum(closeness(event) for event in events)
    found = math.inf
    for number, orders in enumerate(_ORDERS, 1):
        accountant = RdpAccountant(orders, dp.NeighboringRelation.ADD_OR_REMOVE_ONE)
        for each in composed:
            accountant.compose(each)
        found = min(found, _relaxed(accountant, delta, distance))
        # The divergence grows with the order, so that larger orders cannot give less than this.
        left = (order for later in _ORDERS[number:] for order in later)
        if float(accountant.rdp[-1]) + min((_conversion(order, delta) for order in left), default=0.0) >= found:
            break
    return found


def _conversion(order: int, delta: float) -> float:
    """ε minus the divergence of an order (Canonne, Kamath & Steinke, NeurIPS 2020, proposition 12)."""
    return math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


def _relaxed(accountant: dp.PrivacyAccountant, delta: float, distance: float) -> float:
    """ε when distributions are within a factor e^λ of the composed ones, λ `distance`: see `discrete_gaussian_sum`."""
    return float(accountant.get_epsilon(delta * math.exp(-distance))) + 2 * distance
