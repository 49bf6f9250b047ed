"""Audit of every mechanism's guarantee: empirical bounds stay below the claim, and planted bugs are found.

The mechanism by itself, in numpy: sums over labels of clipped vectors of Poisson-sampled tracks, each label with its
part of the noise. A coordinator that colludes with all labels but the h honest ones sees the sum without their noise.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from sottovoce.privacy.accountant import epsilon
from sottovoce.privacy.calibration import plan_for
from sottovoce.privacy.events import PoissonGaussian
from sottovoce.randomness import Randomness
from sottovoce_simulations.attacks.canary_audit import audit, periodic_scores, poisson_scores

pytestmark = pytest.mark.slow

CANARIES = 6000
DELTA = 1e-5


@dataclass(frozen=True)
class SharedSums:
    """Steps of the shared mechanism on canaries alone, whose gradients are orthogonal, as seen by a coalition.

    Args:
        steps: number of steps.
        sample_rate: q.
        noise_multiplier: z of the whole sum, with h honest labels.
        labels: n that take part.
        min_honest: h.
        segments: segments per track.
        bug: the planted bug.
    """

    steps: int
    sample_rate: float
    noise_multiplier: float
    labels: int
    min_honest: int
    segments: int = 6
    bug: str | None = None

    def __call__(self, included):
        sums = self._sums(included, np.random.default_rng())
        if self.bug == "one shuffle for all passes":
            return periodic_scores(sums, round(1 / self.sample_rate), self.noise_multiplier)
        return poisson_scores(sums, self.sample_rate, self.noise_multiplier)

    def _sums(self, included, generator):
        """Projections on the canaries' clipped gradients: `[steps, m]`."""
        clip, length = 1.0, 4.0  # of a canary's gradient
        shape = (self.steps, len(included))
        if self.bug == "one shuffle for all passes":
            period = round(1 / self.sample_rate)
            drawn = (np.arange(self.steps) % period)[:, None] == generator.permutation(len(included)) % period
        elif self.bug == "segments for tracks":
            drawn = generator.binomial(self.segments, self.sample_rate, shape)
        else:
            drawn = generator.random(shape) < self.sample_rate
        signal = drawn * included * (length if self.bug == "no clip" else min(clip, length))
        share = self.noise_multiplier / np.sqrt(self.min_honest)
        if self.bug == "divided by n":
            share = self.noise_multiplier / self.labels
        shares = np.full(self.min_honest, share)
        if self.bug == "no noise at one label":
            shares[0] = 0.0
        return signal + sum(share * generator.standard_normal(shape) for share in shares)


SETTINGS = {
    "every track in every step": (30, 1.0),
    "large batches": (100, 0.1),
    "small batches": (1000, 0.02),
}


def claimed(config, name, ceiling=2.0):
    """A mechanism that promises ε = 2, and what it really promises."""
    steps, rate = SETTINGS[name]
    plan = plan_for(config.changed(rounds=steps, local_steps=1, epsilon=ceiling, batch_size=round(1000 * rate)), 1000)
    promised = epsilon([PoissonGaussian(rate, plan.noise_multiplier, steps)], DELTA)
    assert promised <= ceiling
    return SharedSums(steps, rate, plan.noise_multiplier, labels=20, min_honest=20), promised


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_right_is_not_refuted(config, name):
    mechanism, promised = claimed(config, name)
    found = audit(mechanism, CANARIES, DELTA, Randomness.system())
    assert not found.refutes(promised)
    # Nor is it a bound that always says 0: a twentieth of the promise is refuted.
    assert found.refutes(promised / 20)


BUGS = [
    ("every track in every step", "divided by n", {}),
    ("every track in every step", "no clip", {}),
    ("every track in every step", "no noise at one label", {"min_honest": 1}),
    ("large batches", "divided by n", {}),
    ("large batches", "no clip", {}),
    ("large batches", "segments for tracks", {}),
    ("large batches", "no noise at one label", {"min_honest": 1}),
    ("small batches", "no clip", {}),
    ("small batches", "segments for tracks", {}),
    ("small batches", "one shuffle for all passes", {}),
]


@pytest.mark.parametrize(("name", "bug", "changes"), BUGS)
def test_what_is_wrong_is_refuted(config, name, bug, changes):
    mechanism, promised = claimed(config, name)
    found = audit(replace(mechanism, bug=bug, **changes), CANARIES, DELTA, Randomness.system())
    assert found.epsilon > promised
    assert found.refutes(promised)
