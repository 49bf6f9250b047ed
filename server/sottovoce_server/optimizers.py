"""The server's optimiser: which of Flower's averaging strategies stands inside the masked rounds, and how it is set."""

from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedYogi

from sottovoce.agreement import Agreement
from sottovoce.errors import ConfigurationError
from sottovoce.training import TrainingConfig

NAMES = "fedavg, fedavgm, fedadam, fedyogi"
MOMENTUM = 0.9


def inner_strategy(config: TrainingConfig, agreement: Agreement) -> FedAvg:
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
