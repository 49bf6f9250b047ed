"""The server's optimiser: which of Flower's averaging strategies stands inside the masked rounds, and how it is set."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedYogi
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import Agreement
from sottovoce.run.configuration import RunConfiguration

NAMES = "fedavg, fedavgm, fedadam, fedyogi"
MOMENTUM = 0.9


def inner_strategy(config: RunConfiguration, agreement: Agreement) -> FedAvg:
    """Flower's strategy for a run.

    Raises:
        ConfigurationError: the configuration names an optimiser that is not known.
    """
    rate = config.server_learning_rate
    inner: FedAvg
    match config.server_optimizer:
        case "fedavg":
            inner = FedAvgM(server_learning_rate=rate, server_momentum=0.0)
        case "fedavgm":
            inner = FedAvgM(server_learning_rate=rate, server_momentum=MOMENTUM)
        case "fedadam":
            inner = FedAdam(eta=rate)
        case "fedyogi":
            inner = FedYogi(eta=rate)
        case unknown:
            raise ConfigurationError(f"There is no server optimiser called '{unknown}'.", hint=f"Known: {NAMES}.")
    # Everybody who joined is asked; fewer than n_min make no round, and Flower would wait for them.
    inner.min_train_nodes = inner.min_evaluate_nodes = inner.min_available_nodes = agreement.n_min
    return inner


def optimizer_state(inner: FedAvg) -> dict[str, NDArray[Any]]:
    """What an optimiser remembers from round to round, by name: momenta, in the order of the parameters' arrays."""
    state: dict[str, NDArray[Any]] = {}
    if isinstance(inner, FedAvgM):
        state |= {f"momentum.{index}": value for index, value in enumerate(inner.momentum_vector or [])}
    if isinstance(inner, FedAdam | FedYogi):
        state |= {f"first.{name}": value for name, value in (inner.m_t or {}).items()}
        state |= {f"second.{name}": value for name, value in (inner.v_t or {}).items()}
    return {name: np.ascontiguousarray(value) for name, value in state.items()}


def restore_optimizer(inner: FedAvg, state: Mapping[str, NDArray[Any]]) -> None:
    """Give an optimiser back what `optimizer_state` said of it."""
    parts: dict[str, dict[str, NDArray[Any]]] = {"momentum": {}, "first": {}, "second": {}}
    for name, value in state.items():
        part, _, key = name.partition(".")
        parts[part][key] = value
    if isinstance(inner, FedAvgM) and parts["momentum"]:
        inner.momentum_vector = [parts["momentum"][str(index)] for index in range(len(parts["momentum"]))]
    if isinstance(inner, FedAdam | FedYogi):
        inner.m_t, inner.v_t = parts["first"] or None, parts["second"] or None
