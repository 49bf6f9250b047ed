"""Noise examined without a whole run: for neighbouring catalogues, held-out counts and class counts."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sottovoce.features.spec import View
from sottovoce.models.style.svm import FAMILY
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.held_out import COUNTER_OFFSET
from sottovoce.randomness import Randomness
from sottovoce_client.data.preparation import Prepared
from sottovoce_client.rounds import local_round
from sottovoce_client.rounds.run_state import RunState
from sottovoce_client.training.round_inputs import RoundInputs
from sottovoce_simulations.attacks.canaries import FEATURES, SPEC, Audited, Watched


def neighbours_differ(audited: Audited) -> bool:
    """Whether removing one unit changes any noise: rounds with n and n − 1 units, and equal noise words.

    Half of the canaries form the larger catalogue; the other columns contain only noise.
    """
    units = np.arange(max(1, audited.canaries // 2))
    return not np.array_equal(_noise_of(audited, units, len(units)), _noise_of(audited, units[:-1], len(units)))


def _noise_of(audited: Audited, owned: NDArray[np.intp], most: int) -> NDArray[np.generic]:
    """A round's noise with a fixed seed at a label with some canaries, outside the columns of the first `most`."""
    config, dataset, joined, noise = audited.config, audited.catalogue(owned), audited.state(0), _FixedNoise()
    state = _NoiseBegins(joined.participant, joined.plan, noise=noise)
    inputs = RoundInputs(
        FAMILY, audited.first, dataset, config, joined.plan, noise, histogram=np.ones(len(config.classes))
    )
    report = local_round.update_of(state, audited.announcement.run, inputs)
    if joined.plan is None or joined.plan.mechanism is None:
        return report.reshape(-1, FEATURES + 1)[:, most:-1]
    return report - BandedToeplitz(joined.plan.mechanism.coefficients).encode(state.last_sums(1))


class _FixedNoise(Randomness):
    """Random words of one seed for noise, and of another for everything else: sampling does not change the noise."""

    simulated = True

    def __init__(self) -> None:
        self._words, self._noise = Randomness.for_simulation(0), Randomness.for_simulation(1)

    def begin(self) -> None:
        """Use the noise's seed from here on."""
        self._words = self._noise

    def words(self, count: int) -> NDArray[np.uint64]:
        """Words of the current seed."""
        return self._words.words(count)

    def gaussian(self, shape: tuple[int, ...], std: float) -> Tensor:
        """Gaussian numbers from the noise's seed."""
        return self._noise.gaussian(shape, std)


@dataclass
class _NoiseBegins(RunState):
    """A label's state that starts the noise's words when a round's sum is recorded, right before noise is added."""

    noise: _FixedNoise = field(default_factory=_FixedNoise)

    def remember(self, round_number: int, total: NDArray[np.int64]) -> None:
        """Record the sum, and start the noise's words."""
        super().remember(round_number, total)
        self.noise.begin()


def evaluation_noise(audited: Audited, least: int) -> NDArray[np.float64]:
    """Noise of the counters at a label without held-out tracks: `least` numbers or slightly more; may be empty."""
    noise, state = audited.plan.evaluations, audited.state(0)
    if noise is None:
        return np.empty(0)
    number, model = max(audited.config.evaluated), np.empty(0, np.float32)
    nothing = Prepared(Watched.empty(SPEC, View.SUMMARY), None)
    counters = [
        local_round.counters_of(state, number, model, nothing, Randomness.system())
        for _ in range(-(-least // noise.dimension))
    ]
    return (np.concatenate(counters) - COUNTER_OFFSET) / np.sqrt(noise.variance)


def histogram_noise(audited: Audited, least: int) -> NDArray[np.float64]:
    """Noise of the class histogram at a label without tracks, likewise."""
    plan, styles = audited.planned(), len(audited.config.classes)
    if audited.plan.histogram_noise is None:
        return np.empty(0)
    nothing = Watched.empty(SPEC, View.SUMMARY)
    drawn = [local_round.histogram_of(nothing, styles, plan, Randomness.system()) for _ in range(-(-least // styles))]
    return np.concatenate(drawn) / audited.plan.histogram_noise
