"""The coordinator's edge to Flower: one run from announcement to final parameters over a grid of labels."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import Grid
from numpy.typing import NDArray

from sottovoce.errors import RoundAborted
from sottovoce.federation.agreement import Agreement
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.models.trainable import trainable_mask
from sottovoce.privacy.distributed_gaussian import DistributedDiscreteGaussian
from sottovoce.privacy.held_out import CounterShape, held_out_counts
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.messages import Announcement, decode
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.records import PARAMETERS
from sottovoce_server.flower.arrays import flat
from sottovoce_server.flower.masked_strategy import SecureAggregation
from sottovoce_server.flower.optimizers import inner_strategy, optimizer_state, restore_optimizer
from sottovoce_server.rounds.checkpoint import Keeper, Snapshot
from sottovoce_server.rounds.decoded_sum import SumDecoder
from sottovoce_server.rounds.history import Outcome, Promise, RoundRecord, RunHistory

BROKE_OFF = "The coordinator broke off in this round."


def train(
    grid: Grid,
    agreement: Agreement,
    config: RunConfiguration,
    *,
    announcement: Announcement | None = None,
    keeper: Keeper | None = None,
    resume: bool = False,
    first: NDArray[np.float32] | None = None,
    on_change: Callable[[RunHistory], None] = lambda _: None,
    timeout: float = 3600.0,
) -> Outcome:
    """Run one training over the labels that a grid reaches.

    Args:
        grid: Flower's connection to the labels.
        agreement: the federation's.
        config: of the run.
        announcement: of the run, or None for a new one.
        keeper: where each round's state is kept, or None.
        resume: go on with the run of this announcement, after what `keeper` holds of it.
        first: parameters that the run starts from, `[P]`, or None for those that its seed draws.
        on_change: called after joining and after each round.
        timeout: seconds that one exchange may take.

    Raises:
        RoundAborted: fewer labels than the agreement's `n_min` take part, or no round brought a sum.
        ConfigurationError: the configuration cannot be run, or there is nothing to resume.
    """
    task = discovery.task(config.task)
    family = discovery.family(config.task, config.family)
    announcement = announcement or Announcement.of(agreement, config)
    classes = config.classes
    if first is None:
        first = initial(family, discovery.spec_of(config.task, config.family), len(classes), config.seed)
    parameters = first
    decoder = None
    if config.distributed:
        mechanism = DistributedDiscreteGaussian.of(config, int(trainable_mask(config).sum()), len(agreement.members))
        decoder = SumDecoder(config, mechanism, announcement.run)
    aggregator = Aggregator(agreement, announcement)
    inner = inner_strategy(config, agreement)

    def keep(number: int, arrays: ArrayRecord) -> None:
        del number
        if keeper:
            keeper.save(
                Snapshot(
                    parameters=flat(arrays),
                    optimizer=optimizer_state(inner),
                    decoder=decoder.state() if decoder else {},
                    setup=aggregator.setup_messages(),
                    nodes=strategy.nodes,
                    history=strategy.history,
                )
            )

    strategy = SecureAggregation(
        inner,
        aggregator=aggregator,
        counters=len(task.counters(len(classes))),
        metrics=lambda sums, promises: task.metrics(sums, classes, evaluation_noise(config, promises)),
        on_change=on_change,
        on_start=keeper.started if keeper else lambda _: None,
        on_model=keep,
        decoder=decoder,
        trainable=trainable_mask(config),
        timeout=timeout,
    )
    if resume and keeper:
        snapshot, started = keeper.load()
        aggregator.restore([decode(message) for message in snapshot.setup], started)
        restore_optimizer(inner, snapshot.optimizer)
        if decoder:
            decoder.restore(snapshot.decoder)
        history = _with_lost_rounds(snapshot.history, min(started, config.rounds), decoder)
        strategy.resume(snapshot.nodes, history)
        parameters = snapshot.parameters
        on_change(history)
    left = config.rounds - len(strategy.history.rounds)
    if left:
        result = strategy.start(grid, ArrayRecord({PARAMETERS: Array(parameters)}), left, timeout)
        # A run whose last rounds were all aborted has the model that it began with.
        parameters = flat(result.arrays) if result.arrays else parameters
    if all(record.aborted for record in strategy.history.rounds):
        raise RoundAborted("Every round of the run was aborted, so there is no model.")
    return Outcome(announcement.run, parameters, strategy.history)


def evaluation_noise(config: RunConfiguration, promises: Sequence[Promise]) -> float:
    """Standard deviation of the noise that labels with these promises add to each summed counter together."""
    task = discovery.task(config.task)
    shape = CounterShape(task.norm_squared(len(config.classes)), len(task.counters(len(config.classes))))
    variance = 0.0
    for promise in promises:
        asked = config if config.distributed else promise
        counts = held_out_counts(config, shape, epsilon=asked.epsilon, delta=asked.delta)
        variance += counts.variance if counts else 0.0
    return math.sqrt(variance)


def _with_lost_rounds(history: RunHistory, started: int, decoder: SumDecoder | None) -> RunHistory:
    """A round that began, and of which nothing was kept, is lost: labels answer no round twice."""
    for number in range(len(history.rounds) + 1, started + 1):
        history.rounds.append(RoundRecord(number, (), (), 0, 0.0, 0.0, BROKE_OFF))
        if decoder:
            decoder.update(None, number, 0)
    return history
