"""The server optimiser, computed by coordinator and labels alike, with identical bits on every machine.

FedAvg with momentum, FedAdam and FedYogi (Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2), as
Flower computes them. Every operation is one of + − × ÷ √ on float64, element by element; moments and parameters are
then rounded to float32. It uses no library's sums, exponentials or powers.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sottovoce.run.configuration import RunConfiguration

_CHUNK = 1 << 14  # numbers; all temporaries of this size stay in the cache
FIRST, SECOND = "first", "second"
_MOMENTS = {"fedavg": (), "fedavgm": (FIRST,), "fedadam": (FIRST, SECOND), "fedyogi": (FIRST, SECOND)}


class ServerOptimizer:
    """A run's optimiser, and its moments between rounds.

    Args:
        config: the run's configuration, which selects the optimiser and its settings.
        size: number of trained parameters.
    """

    def __init__(self, config: RunConfiguration, size: int) -> None:
        self._config = config
        self._moments = {name: np.zeros(size, np.float32) for name in _MOMENTS[config.server_optimizer]}

    def step(
        self, parameters: NDArray[np.float32], update: NDArray[np.float32], round_number: int
    ) -> NDArray[np.float32]:
        """The parameters after a round, `[size]`.

        Args:
            parameters: parameters before it, `[size]`.
            update: the round's update, `[size]`.
            round_number: from 1; aborted rounds count.
        """
        moved = np.empty_like(parameters)
        moments = {name: np.empty_like(value) for name, value in self._moments.items()}
        rate = self._rate(round_number)
        for start in range(0, parameters.size, _CHUNK):
            part = slice(start, start + _CHUNK)
            change = self._change(update[part].astype(np.float64), part, moments)
            change *= rate
            change += parameters[part]
            moved[part] = change
        self._moments = moments
        return moved

    def state(self) -> dict[str, NDArray[np.float32]]:
        """The state for `restore`, by name."""
        return dict(self._moments)

    def restore(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Restore the state from `state`.

        Raises:
            ValueError: it belongs to another optimiser.
        """
        if {name: value.shape for name, value in state.items()} != {
            name: value.shape for name, value in self._moments.items()
        }:
            raise ValueError("The moments belong to another optimiser.")
        self._moments = dict(state)

    def _rate(self, round_number: int) -> float:
        config = self._config
        if config.server_optimizer != "fedadam":
            return config.server_learning_rate
        # Adam's bias correction as in Flower: with the number of the following round.
        first = 1.0 - _power(config.server_beta_1, round_number + 1)
        second = 1.0 - _power(config.server_beta_2, round_number + 1)
        return config.server_learning_rate * math.sqrt(second) / first

    def _change(
        self, update: NDArray[np.float64], part: slice, moments: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float64]:
        """The direction of a part's step, before the learning rate; the part's new moments go into `moments`."""
        config = self._config
        old = {name: value[part].astype(np.float64) for name, value in self._moments.items()}
        match config.server_optimizer:
            case "fedavg":
                return update
            case "fedavgm":
                moments[FIRST][part] = config.server_momentum * old[FIRST] + update
                return moments[FIRST][part].astype(np.float64)
        beta_1, beta_2 = config.server_beta_1, config.server_beta_2
        moments[FIRST][part] = beta_1 * old[FIRST] + (1.0 - beta_1) * update
        square = update * update
        if config.server_optimizer == "fedadam":
            moments[SECOND][part] = beta_2 * old[SECOND] + (1.0 - beta_2) * square
        else:
            moments[SECOND][part] = old[SECOND] - (1.0 - beta_2) * square * np.sign(old[SECOND] - square)
        first, second = (moments[name][part].astype(np.float64) for name in (FIRST, SECOND))
        return first / (np.sqrt(second) + config.server_tau)


def _power(base: float, exponent: int) -> float:
    """A power by repeated squaring: a library's result differs in the last bit between machines."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result
