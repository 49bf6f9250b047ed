"""What a sum of whole numbers asks for: the update that the server's optimiser sees, and the next clip.

All of it is post-processing of sums that carry their noise already. Coordinator and labels must come to the same bits,
so that nothing here adds up in a library's order or calls a library's exponential.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.protocol.quantise import norm_of
from sottovoce.protocol.violations import ImplausibleSum
from sottovoce.run.configuration import CLIPS, RunConfiguration, Unit

CLIP_STEP = 0.3
"""Rate at which the clip follows its quantile: per round, times the share of units by which it is missed
(Andrew et al., NeurIPS 2021, algorithm 1, who use 0.2)."""


class SumDecoder:
    """Turns the rounds' sums into updates, one after another.

    Args:
        config: of the run, with distributed noise.
        mechanism: of the run.
        run: its id, which the rotation follows from.
    """

    def __init__(self, config: RunConfiguration, mechanism: DistributedDiscreteGaussian, run: bytes) -> None:
        if config.distributed is None:
            raise ConfigurationError("Only a run whose labels share their noise is summed in whole numbers.")
        self.clip = config.max_grad_norm
        """L2 bound on one unit's vector in the next round."""
        self._config = config
        self._mechanism = mechanism
        self._run = run
        self._matrix = BandedToeplitz(mechanism.coefficients)
        self._earlier: list[NDArray[np.float64]] = []

    def skip(self) -> None:
        """A round that was aborted."""
        self._keep(np.zeros(self._mechanism.parameters))

    def update(self, total: NDArray[np.int64], round_number: int, survivors: int) -> NDArray[np.float32]:
        """The model's change that a round asks for, at most `update_clip` long: `[parameters]`.

        Args:
            total: the round's sum, `[mechanism.dimension]`.
            round_number: from 1, each once and in order, but for those that `skip` was called for.
            survivors: how many labels' vectors are in the sum.
        """
        mechanism, config = self._mechanism, self._config
        integers = self._matrix.decode(total[: mechanism.parameters], self._earlier)
        self._keep(integers)
        vector = mechanism.vector(integers, mechanism.signs(self._run, round_number)) * np.float32(self.clip)
        # A whole label's vector is its update; a track's is a gradient, which the model moves against.
        of_labels = config.unit is Unit.LABEL
        vector *= np.float32(1 / survivors if of_labels else -config.learning_rate / config.batch_size)
        if mechanism.quantile is not None:
            share = mechanism.excess(int(total[-1])) / (survivors if of_labels else config.batch_size)
            moved = self.clip * _exponential(-CLIP_STEP * max(-1.0, min(1.0, share)))
            self.clip = min(max(moved, CLIPS[0]), CLIPS[1])
        norm = norm_of(vector)
        return vector * np.float32(min(1.0, config.update_clip / norm)) if norm else vector

    def check(self, total: NDArray[np.int64], survivors: int) -> None:
        """Refuse a sum that honest labels make with a chance of at most 2^-40.

        How many units a label's sum holds is not known to anybody else, so that only each coordinate is bounded;
        where the unit is the label, its one vector is.

        Raises:
            ImplausibleSum: it is larger.
        """
        largest = float(np.abs(total).max(initial=0))
        of_labels, mechanism = self._config.unit is Unit.LABEL, self._mechanism
        if largest > mechanism.largest_coordinate(survivors) or (
            of_labels and norm_of(total) > mechanism.longest(survivors)
        ):
            raise ImplausibleSum("A round's noised sum is larger than honest labels can have made it: some label lied.")

    def state(self) -> dict[str, NDArray[np.float64]]:
        """What `restore` needs to go on after a crash."""
        return {"clip": np.array([self.clip]), **{f"earlier.{i}": rows for i, rows in enumerate(self._earlier)}}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Go on where `state` was called.

        Raises:
            KeyError, ValueError: it is not what `state` gives.
        """
        earlier = [np.array(state[f"earlier.{index}"], np.float64) for index in range(len(state) - 1)]
        if any(rows.shape != (self._mechanism.parameters,) for rows in earlier):
            raise ValueError("The earlier rounds are those of another run.")
        self.clip, self._earlier = float(state["clip"][0]), earlier

    def _keep(self, integers: NDArray[np.float64]) -> None:
        """Remember what later rounds' sums hold of this one."""
        bands = self._matrix.bands - 1
        self._earlier = [*self._earlier, integers][-bands:] if bands else []


def _exponential(exponent: float) -> float:
    """e to a power between −1 and 1, by its series: 20 terms leave less than float64 shows."""
    result = 1.0
    for term in range(20, 0, -1):
        result = 1.0 + result * exponent / term
    return result
