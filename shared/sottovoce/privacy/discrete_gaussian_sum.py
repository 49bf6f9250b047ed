"""How a sum of discrete Gaussians compares with one continuous Gaussian: the proof behind `DiscreteGaussianSum`.

`docs/privacy.md` derives it. In short, with η(c²) = 2·Σ_{k≥1} exp(−2π²c²k²), every sum of exp(−(x − t)²/(2c²)) over the
integers lies within 1 ± η(c²) of c·√(2π) (Poisson summation). Hence, per coordinate and pointwise:

- the sum of h draws of N_Z(0, v) is within a factor (1 + η)/(1 − η) for each added draw (c² = v·k/(k + 1)) of
  N_Z(0, h·v) (Kairouz, Liu & Steinke, ICML 2021, theorem 9, has the same exponents);
- N_Z(m, h·v), for whole m, is within such factors (c² = s²) of a post-processing of N(m, h·v − s²): its rounding by a
  discrete Gaussian of variance s² (Peikert, CRYPTO 2010, theorem 3.1).

So sums may be accounted for as continuous Gaussians of variance h·v − s², at any sampling rate and in any dimension, if
ε grows by 2λ and δ by e^λ, where λ is the logarithm of all factors together. With v >= 8 and s² = 4, λ is below 10⁻²⁰.
"""

import math

from sottovoce.errors import UnknownPrivacyEvent
from sottovoce.privacy.events import DiscreteGaussianSum, Event, PoissonGaussian

SMOOTHING = 4.0
"""s²: variance that the proof loses."""
LEAST_VARIANCE = 8.0
"""Smallest variance of one label's noise: then c² >= 4 for every added draw."""


def deviation(variance: float) -> float:
    """η: largest relative difference between a Gaussian's sum over shifted integers and its integral."""
    first = math.exp(-2 * math.pi**2 * variance)
    return 2 * first / (1 - first**3)  # the further terms' exponents are 4, 9, … times the first's


def _factor(variance: float) -> float:
    """ln((1 + η)/(1 − η))."""
    return 2 * math.atanh(deviation(variance))


def closeness(event: Event) -> float:
    """λ: the logarithm of the factors by which an event may differ from its `continuous` counterpart, in all its steps.

    Raises:
        UnknownPrivacyEvent: the noise is too small for the proof to hold.
    """
    if not isinstance(event, DiscreteGaussianSum):
        return 0.0
    if event.variance < LEAST_VARIANCE:
        raise UnknownPrivacyEvent(
            f"Discrete noise of variance {event.variance:g} is not covered by the proof; it needs {LEAST_VARIANCE:g}."
        )
    added = sum(_factor(event.variance * k / (k + 1)) for k in range(1, event.min_honest))
    return event.steps * event.dimension * (added + 2 * _factor(SMOOTHING))


def continuous(event: DiscreteGaussianSum) -> PoissonGaussian:
    """The continuous Gaussian steps that this event may be accounted for as, up to `closeness`."""
    total = event.min_honest * event.variance
    return PoissonGaussian(event.sample_rate, event.noise_multiplier * math.sqrt(1 - SMOOTHING / total), event.steps)
