"""What events cost: ε for a given δ, under add-or-remove-one-unit.

The figure is that of privacy loss distributions (Koskela et al., AISTATS 2020; Doroshenko et al., PoPETs 2022), as
`dp-accounting` computes them: the loss is put on a grid so that the result is never below the true ε (pessimistic
connect-the-dots). Rényi DP (Mironov, CSF 2017), by its own formulas, is the cross-check.
"""

import math
from collections.abc import Iterable
from functools import lru_cache

import dp_accounting as dp
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from sottovoce.errors import PrivacyError, UnknownPrivacyEvent
from sottovoce.privacy.discrete_gaussian_sum import closeness, continuous
from sottovoce.privacy.events import DiscreteGaussianSum, Event, Gaussian, NonPrivate, PoissonGaussian, merged

NEIGHBOURS = "add-or-remove-one-unit"
"""The neighbouring relation of every ε here: one data set has one unit more than the other."""

ACCOUNTANT = "PLD"
TOLERANCE = 0.01
"""PLD is tighter than RDP; by more than this above it, one of the two is wrong."""
GRID = 3e-4
"""Width of the grid of privacy losses, as a share of the ε that RDP gives; what it adds to ε is below 0.1 %."""
GRID_LIMITS = (1e-6, 5e-3)
LARGEST = 10_000.0
"""Above this ε nothing is promised that a tighter figure would help: RDP's own bound is given."""

# Whole orders have a closed form at every sampling rate (Mironov, Talwar & Zhang 2019, section 3.3).
_ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096)


def to_dp_event(event: Event) -> dp.DpEvent:
    """The event as `dp-accounting` knows it.

    Raises:
        UnknownPrivacyEvent: there is no accounting for it.
    """
    match event:
        case DiscreteGaussianSum():
            return to_dp_event(continuous(event))  # whoever calls adds the `closeness`
        case PoissonGaussian(sample_rate, noise_multiplier, steps):
            once = dp.PoissonSampledDpEvent(sample_rate, dp.GaussianDpEvent(noise_multiplier))
            return dp.SelfComposedDpEvent(once, steps)
        case Gaussian(noise_multiplier, count):
            return dp.SelfComposedDpEvent(dp.GaussianDpEvent(noise_multiplier), count)
        case NonPrivate():
            return dp.NonPrivateDpEvent()
    raise UnknownPrivacyEvent(f"There is no accounting for {type(event).__name__}.")


def check_delta(delta: float, units: int) -> None:
    """Refuse a δ that would allow one of `units` units to be published outright.

    Raises:
        PrivacyError: δ is not in (0, 1/units).
    """
    if not 0 < delta < 1 / max(units, 1):
        raise PrivacyError(
            f"δ = {delta:g} is too large for {units} units: it must be below 1/{units}.",
            hint="Lower δ; 1e-5 suits catalogues below 100,000 tracks.",
        )


def epsilon(events: Iterable[Event], delta: float) -> float:
    """The smallest ε that can be shown for all events together, at this δ; `inf` when one of them is not private.

    Raises:
        UnknownPrivacyEvent: there is no accounting for an event.
        PrivacyError: δ is not in (0, 1), or PLD and RDP disagree.
    """
    if not 0 < delta < 1:
        raise PrivacyError(f"Expected δ = {delta} in (0, 1).")
    return _epsilon(merged(events), delta)


@lru_cache(maxsize=1024)
def _epsilon(events: tuple[Event, ...], delta: float) -> float:
    bound = epsilon_rdp(events, delta)
    if bound == 0 or bound >= LARGEST:
        return bound
    grid = min(max(bound * GRID, GRID_LIMITS[0]), GRID_LIMITS[1])
    accountant = PLDAccountant(dp.NeighboringRelation.ADD_OR_REMOVE_ONE, grid)
    for event in events:
        accountant.compose(to_dp_event(event))
    found = _relaxed(accountant, delta, events)
    if not found <= bound * (1 + TOLERANCE):
        raise PrivacyError(f"Two accountants disagree: PLD gives ε = {found:.4g} and RDP at most {bound:.4g}.")
    return found


def epsilon_rdp(events: Iterable[Event], delta: float) -> float:
    """A looser ε by Rényi DP, from formulas of its own: the cross-check.

    Raises:
        UnknownPrivacyEvent: there is no accounting for an event.
    """
    events = tuple(events)
    accountant = RdpAccountant(_ORDERS, dp.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for event in events:
        if isinstance(event, NonPrivate):
            return math.inf
        accountant.compose(to_dp_event(event))
    return _relaxed(accountant, delta, events)


def _relaxed(accountant: dp.PrivacyAccountant, delta: float, events: Iterable[Event]) -> float:
    """ε where distributions are only known to be within e^λ of those that were composed: see `discrete`."""
    distance = sum(closeness(event) for event in events)
    return float(accountant.get_epsilon(delta * math.exp(-distance))) + 2 * distance
