"""How one label trains in one run: sampling, clipping, noise and what they cost, in one value."""

import math
from dataclasses import dataclass, replace

from sottovoce.errors import PrivacyError
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.events import Event, Gaussian, HeldOutCounts, PoissonGaussian
from sottovoce.run.configuration import Trust, Unit


@dataclass(frozen=True)
class PrivacyPlan:
    """What a label does with its units in one run. `calibrate.plan_for` makes it; nothing in it changes afterwards.

    Args:
        unit: what is sampled, clipped and protected.
        trust: whose noise the guarantee rests on.
        base_rate: probability with which a unit is sampled each step, where classes are not sampled differently.
        sample_rate: the largest probability of any unit; the one that is accounted for.
        noise_multiplier: standard deviation of the noise over `max_grad_norm`.
        max_grad_norm: L2 clip of one unit's gradient.
        steps: accounted optimiser steps of the whole run.
        histogram_noise: standard deviation of the noise on each class count, or None when classes are not counted.
        epsilon: what all of this costs, at `delta`.
        delta: δ.
        epsilon_ceiling: what it was allowed to cost; unlike `epsilon`, it may be told, since it says nothing of the
            number of units.
        min_honest: the number of honest labels that distributed noise assumes; 1 where the label adds all of it.
        mechanism: the distributed discrete Gaussian; None where the label adds all noise itself.
        evaluations: the noise of all evaluations on held-out units; None where the run has none.
    """

    unit: Unit
    trust: Trust
    base_rate: float
    sample_rate: float
    noise_multiplier: float
    max_grad_norm: float
    steps: int
    histogram_noise: float | None
    epsilon: float
    delta: float
    epsilon_ceiling: float
    min_honest: int = 1
    mechanism: DistributedDiscreteGaussian | None = None
    evaluations: HeldOutCounts | None = None

    def __post_init__(self) -> None:
        self._expect("base_rate", 0 < self.base_rate <= self.sample_rate, "in (0, sample_rate]")
        self._expect("sample_rate", self.sample_rate <= 1, "<= 1")
        for name in ("noise_multiplier", "max_grad_norm"):
            value = getattr(self, name)
            self._expect(name, math.isfinite(value) and value > 0, "> 0 and finite")
        self._expect("steps", self.steps >= 1, ">= 1")
        self._expect("histogram_noise", self.histogram_noise is None or self.histogram_noise > 0, "None or > 0")
        self._expect(
            "mechanism",
            (self.mechanism is not None) == (self.trust is Trust.DISTRIBUTED),
            "with distributed noise, and only then",
        )
        self._expect(
            "min_honest",
            self.min_honest >= 1 and (self.mechanism is not None or self.min_honest == 1),
            ">= 1, and 1 alone",
        )
        self._expect("delta", 0 < self.delta < 1, "in (0, 1)")
        self._expect("epsilon", 0 <= self.epsilon <= self.epsilon_ceiling, "within its ceiling")

    def _expect(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise PrivacyError(f"Expected {name}={getattr(self, name)} {wanted} in a privacy plan.")

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on each coordinate of a step's summed, clipped gradients."""
        return self.noise_multiplier * self.max_grad_norm

    def events(self, steps: int | None = None, *, histogram: bool = True) -> tuple[Event, ...]:
        """What `steps` steps (all of them by default) do to the units, and the class histogram if it is part of it.

        A label draws the histogram once, so its first round's events have it and the others' do not.
        """
        taken = self.steps if steps is None else steps
        training: Event = PoissonGaussian(self.sample_rate, self.noise_multiplier, taken)
        if self.mechanism is not None:
            training = self.mechanism.event(self.min_honest, self.sample_rate, taken)
        if self.histogram_noise is None or not histogram:
            return (training,)
        return (Gaussian(self.histogram_noise), training)

    def evaluation(self) -> tuple[Event, ...]:
        """What one evaluation does to the held-out units."""
        return () if self.evaluations is None else (replace(self.evaluations, count=1),)

    @property
    def whole_run(self) -> tuple[Event, ...]:
        """All that the run does: to trained units, and to held-out ones."""
        return (*self.events(), *(() if self.evaluations is None else (self.evaluations,)))
