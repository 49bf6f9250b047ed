"""The server's optimiser: which of Flower's averaging strategies stands inside the masked rounds, and how it is set."""

from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedYogi

from sottovoce.agreement import Agreement
from sottovoce.errors import ConfigurationError
from sottovoce.training import TrainingConfig

NAMES = ("fedavg", "fedavgm", "fedadam", "fedyogi")
MOMENTUM = 0.9


def inner_strategy(config: TrainingConfig, agreement: Agreement) -> FedAvg:
    """Flower's strategy for a run.

    Raises:
        ConfigurationError: the configuration names an optimiser that is not known.
    """
    needed = {
        # Everybody who joined is asked; fewer than n_min make no round, and Flower would wait for them.
        "min_train_nodes": agreement.n_min,
        "min_evaluate_nodes": agreement.n_min,
        "min_available_nodes": agreement.n_min,
    }
    rate = config.server_learning_rate
    match config.server_optimizer:
        case "fedavg":
            return FedAvgM(server_learning_rate=rate, server_momentum=0.0, **needed)
        case "fedavgm":
            return FedAvgM(server_learning_rate=rate, server_momentum=MOMENTUM, **needed)
        case "fedadam":
            return FedAdam(eta=rate, **needed)
        case "fedyogi":
            return FedYogi(eta=rate, **needed)
    raise ConfigurationError(
        f"There is no server optimiser called '{config.server_optimizer}'.", hint=f"Known: {', '.join(NAMES)}."
    )
