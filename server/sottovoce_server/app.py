"""The coordinator's edge to Flower: one run from announcement to final parameters over a grid of labels."""

from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import Grid
from numpy.typing import NDArray

from sottovoce.agreement import Agreement
from sottovoce.errors import RoundAborted
from sottovoce.features.extract import default_spec
from sottovoce.models import registry
from sottovoce.models.parameters import initial
from sottovoce.privacy.grid import SumGrid
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.messages import Announcement
from sottovoce.training import TrainingConfig
from sottovoce.wire import PARAMETERS
from sottovoce_server.history import Outcome, RunHistory
from sottovoce_server.optimizers import inner_strategy
from sottovoce_server.strategy import SecureAggregation, flat
from sottovoce_server.sums import SumDecoder


def train(
    grid: Grid,
    agreement: Agreement,
    config: TrainingConfig,
    *,
    on_change: Callable[[RunHistory], None] = lambda _: None,
    timeout: float = 3600.0,
) -> Outcome:
    """Run one training over the labels that a grid reaches.

    Args:
        grid: Flower's connection to the labels.
        agreement: the federation's.
        config: of the run.
        on_change: called after joining and after each round.
        timeout: seconds that one exchange may take.

    Raises:
        RoundAborted: fewer labels than the agreement's `n_min` take part.
        ConfigurationError: the configuration cannot be run.
    """
    task = registry.task(config.task)
    family = registry.family(config.task, config.family)
    announcement = Announcement.of(agreement, config)
    classes = config.classes
    first: NDArray[np.float32] = initial(family, default_spec(), len(classes), config.seed)
    decoder = None
    if config.shared:
        grid_of_sums = SumGrid.of(config, first.size, len(agreement.members))
        decoder = SumDecoder(config, grid_of_sums, announcement.run)
    strategy = SecureAggregation(
        inner_strategy(config, agreement),
        aggregator=Aggregator(agreement, announcement),
        counters=len(task.counters(len(classes))),
        metrics=lambda sums: task.metrics(sums, classes),
        on_change=on_change,
        decoder=decoder,
        timeout=timeout,
    )
    result = strategy.start(grid, ArrayRecord({PARAMETERS: Array(first)}), config.rounds, timeout)
    if all(record.aborted for record in strategy.history.rounds):
        raise RoundAborted("Every round of the run was aborted, so there is no model.")
    return Outcome(announcement.run, flat(result.arrays), strategy.history)
