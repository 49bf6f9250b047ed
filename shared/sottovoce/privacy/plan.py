"""How one label trains in one run: sampling, clipping, noise and their cost, in one value."""

import math
from dataclasses import dataclass, replace

from sottovoce.errors import PrivacyError
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.events import Event, Gaussian, HeldOutCounts, PoissonGaussian
from sottovoce.run.configuration import Trust, Unit


@dataclass(frozen=True)
class PrivacyPlan:
    """What a label does with its units in one run. Made by `calibration.plan_for`, and immutable.

    Args:
        unit: what is sampled, clipped and protected.
        trust: whether the label adds all noise itself or the labels do together.
        base_rate: probability with which a unit is sampled each step, if all classes are sampled alike.
        sample_rate: largest probability of any unit, which is accounted for.
        noise_multiplier: standard deviation of the noise divided by `max_grad_norm`.
        max_grad_norm: L2 clip of one unit's gradient.
        steps: accounted optimiser steps of the whole run.
        histogram_noise: standard deviation of the noise on each class count, or None if classes are not counted.
        epsilon: cost of all this, at `delta`.
        delta: δ.
        epsilon_ceiling: ceiling for `epsilon`; unlike `epsilon` it may be published, since it does not depend on the
            number of units.
        min_honest: number of honest labels that distributed noise assumes; 1 if the label adds all of it.
        mechanism: the distributed discrete Gaussian; None if the label adds all noise itself.
        evaluations: noise of all evaluations on held-out units; None if the run has none.
        padded_batch: number of units that each step computes, whatever the sample's size; 0 if steps are not padded.
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
    padded_batch: int = 0

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
        self._expect("padded_batch", self.padded_batch >= 0, ">= 0")
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
        """Events of `steps` steps (default: all), and of the class histogram if it is part of them.

        A label draws the histogram once, so only its first round's events include it.
        """
        taken = self.steps if steps is None else steps
        training: Event = PoissonGaussian(self.sample_rate, self.noise_multiplier, taken)
        if self.mechanism is not None:
            training = self.mechanism.event(self.min_honest, self.sample_rate, taken)
        if self.histogram_noise is None or not histogram:
            return (training,)
        return (Gaussian(self.histogram_noise), training)

    def evaluation(self) -> tuple[Event, ...]:
        """Events of one evaluation on the held-out units."""
        return () if self.evaluations is None else (replace(self.evaluations, count=1),)

    @property
    def whole_run(self) -> tuple[Event, ...]:
        """All events of the run, on trained and on held-out units."""
        return (*self.events(), *(() if self.evaluations is None else (self.evaluations,)))
