"""Decoding of a sum of whole numbers: the update for the server optimiser, and the next clip.

All of it is post-processing of sums that already contain their noise. Coordinator and labels must compute identical
bits, so nothing here sums in a library's order or calls a library's exponential.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sottovoce.privacy.banded_factorisation import BandedToeplitz
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.protocol.quantise import norm_of
from sottovoce.protocol.violations import ImplausibleSum
from sottovoce.run.configuration import CLIPS, RunConfiguration, Unit

CLIP_STEP = 0.3
"""Rate at which the clip follows its quantile: per round, multiplied by the deviation from the wanted share of units
(Andrew et al., NeurIPS 2021, algorithm 1, where it is 0.2)."""


class SumDecoder:
    """Decodes the rounds' sums to updates, one after another.

    Args:
        config: a run with distributed noise.
        mechanism: the run's mechanism.
        run: the run's id, which determines the rotation.
    """

    def __init__(self, config: RunConfiguration, mechanism: DistributedDiscreteGaussian, run: bytes) -> None:
        self.clip = config.max_grad_norm
        """L2 bound on one unit's vector in the next round."""
        self._config = config
        self._mechanism = mechanism
        self._run = run
        self._matrix = BandedToeplitz(mechanism.coefficients)
        self._earlier: list[NDArray[np.float64]] = []

    def skip(self) -> None:
        """Skip an aborted round."""
        self._keep(np.zeros(self._mechanism.parameters))

    def update(self, total: NDArray[np.int64], round_number: int, survivors: int) -> NDArray[np.float32]:
        """The update of the model from a round's sum, of norm at most `update_clip`: `[parameters]`.

        Args:
            total: the round's sum, `[mechanism.dimension]`.
            round_number: from 1; rounds must come once each, in order, except those that were skipped.
            survivors: number of labels in the sum.
        """
        mechanism, config = self._mechanism, self._config
        integers = self._matrix.decode(total[: mechanism.parameters], self._earlier)
        self._keep(integers)
        vector = mechanism.vector(integers, mechanism.signs(self._run, round_number)) * np.float32(self.clip)
        # A whole label's vector is its update; a track's is a gradient, which is subtracted.
        of_labels = config.unit is Unit.LABEL
        vector *= np.float32(1 / survivors if of_labels else -config.learning_rate / config.batch_size)
        if mechanism.quantile is not None:
            share = mechanism.excess(int(total[-1])) / (survivors if of_labels else config.batch_size)
            moved = self.clip * _exponential(-CLIP_STEP * max(-1.0, min(1.0, share)))
            self.clip = min(max(moved, CLIPS[0]), CLIPS[1])
        norm = norm_of(vector)
        return vector * np.float32(min(1.0, config.update_clip / norm)) if norm else vector

    def check(self, total: NDArray[np.int64], survivors: int) -> None:
        """Refuse a sum that honest labels exceed with probability at most 2^-40.

        Only the label itself knows how many units its sum contains, so only single coordinates are bounded; if the unit
        is the label, the norm of its one vector is.

        Raises:
            ImplausibleSum: the sum is larger.
        """
        largest = float(np.abs(total).max())
        of_labels, mechanism = self._config.unit is Unit.LABEL, self._mechanism
        if largest > mechanism.largest_coordinate(survivors) or (
            of_labels and norm_of(total) > mechanism.longest(survivors)
        ):
            raise ImplausibleSum("A round's noised sum is larger than honest labels can produce: some label lied.")

    def state(self) -> dict[str, NDArray[np.float64]]:
        """The state for `restore` after a crash."""
        return {"clip": np.array([self.clip]), **{f"earlier.{i}": rows for i, rows in enumerate(self._earlier)}}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Restore the state from `state`.

        Raises:
            KeyError, ValueError: it is not a result of `state`.
        """
        earlier = [np.array(state[f"earlier.{index}"], np.float64) for index in range(len(state) - 1)]
        if any(rows.shape != (self._mechanism.parameters,) for rows in earlier):
            raise ValueError("The earlier rounds belong to another run.")
        self.clip, self._earlier = float(state["clip"][0]), earlier

    def _keep(self, integers: NDArray[np.float64]) -> None:
        """Keep this round's sum while later sums contain it."""
        bands = self._matrix.bands - 1
        self._earlier = [*self._earlier, integers][-bands:] if bands else []


def _exponential(exponent: float) -> float:
    """e to a power between −1 and 1, by its series: the error after 20 terms is below float64's precision."""
    result = 1.0
    for term in range(20, 0, -1):
        result = 1.0 + result * exponent / term
    return result
