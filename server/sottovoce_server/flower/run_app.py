"""The coordinator's side of a run in Flower: from announcement to final parameters over a grid of labels."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError, LocalProtocolError, RoundAborted
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.models import discovery
from sottovoce.models.parameters import initial
from sottovoce.models.trainable import trainable_mask
from sottovoce.privacy.held_out import CounterShape, held_out_counts
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.message import FORMER_VERSION
from sottovoce.protocol.messages import Announcement, RunOver, decode
from sottovoce.protocol.run_over import NO_MODEL
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import OwnWords
from sottovoce.run.round_sum import RoundSum
from sottovoce_server.flower.masked_rounds import MaskedRounds
from sottovoce_server.flower.run_endings import tell, tell_others
from sottovoce_server.rounds.checkpoint import DAMAGED, Keeper, Snapshot
from sottovoce_server.rounds.ending import Ending
from sottovoce_server.rounds.history import Outcome, Promise, RoundRecord, RunHistory
from sottovoce_server.rounds.sum_store import SumStore

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
    on_over: Callable[[RunOver], None] = lambda _: None,
    remembered: Mapping[int, OwnWords] | None = None,
    named: Callable[[], Mapping[str, str]] = dict,
    coordinator: Identity | None = None,
    timeout: float = 3600.0,
) -> Outcome:
    """Train once over the labels that a grid reaches.

    Args:
        grid: Flower's connection to the labels.
        agreement: the federation's agreement.
        config: the run's configuration.
        announcement: the run's announcement, or None for a new one.
        keeper: stores the state after each round, or None.
        resume: continue the announcement's run from the state in `keeper`.
        first: initial parameters, `[P]`, or None for those drawn from the seed; a resumed run uses its own.
        on_change: called after joining and after each round.
        on_over: called with the end of the run, before any label is notified.
        remembered: what labels said in their latest earlier runs, by Flower's node.
        named: returns the labels to leave out by decision of the coordinator's people, and why.
        coordinator: signs the end of the run; None to tell no label that the run is over.
        timeout: longest time of one exchange, seconds.

    Raises:
        RoundAborted: fewer labels than the agreement's `n_min` take part, or every round was aborted.
        ConfigurationError: the configuration cannot be run, or there is nothing to resume.
        UnfollowedParameters: the initial parameters do not match the configuration.
    """
    announcement = announcement or Announcement.of(agreement, config)
    with TemporaryDirectory(prefix="sottovoce-sums-") as aside:
        sums = keeper.sums if keeper else SumStore(Path(aside))
        snapshot, started = keeper.load() if resume and keeper else (None, 0)
        model = _model(announcement, agreement, first, snapshot, sums)
        aggregator = Aggregator(agreement, announcement)
        task = discovery.task(config.task)

        def keep() -> None:
            if keeper:
                setup = aggregator.setup_messages()
                keeper.save(Snapshot(model.to_bytes(), setup, rounds.nodes, rounds.stands, rounds.history))

        def over(digest: bytes) -> None:
            if coordinator:
                known = {"run": announcement.run, "agreement": announcement.agreement, "round": model.rounds}
                last = RunOver.sign(coordinator, **known, parameters_digest=digest, version=FORMER_VERSION)
                _end(Ending(last, rounds.met, rounds.stands), grid, sums, keeper, on_over, timeout)

        rounds = MaskedRounds(
            grid,
            aggregator=aggregator,
            model=model,
            sums=sums,
            counters=len(task.counters(len(config.classes))),
            metrics=lambda sums, promises: task.metrics(sums, config.classes, evaluation_noise(config, promises)),
            on_change=on_change,
            on_start=keeper.started if keeper else lambda _: None,
            on_model=keep,
            remembered=remembered,
            named=named,
            timeout=timeout,
        )
        ended = keeper.ending.read() if resume and keeper else None
        if snapshot:
            # A final evaluation that began may be repeated: labels that it reached decline, others still answer.
            aggregator.restore([decode(message) for message in snapshot.setup], min(started, config.rounds))
            history = _with_lost_rounds(snapshot.history, min(started, config.rounds), model, sums)
            rounds.resume(snapshot.nodes, snapshot.stands, history)
            on_change(history)
        try:
            rounds.play(evaluate=not ended and config.rounds not in rounds.history.metrics)
            if all(record.aborted for record in rounds.history.rounds):
                raise RoundAborted("Every round of the run was aborted, so there is no model.")
        except RoundAborted:
            over(NO_MODEL)
            raise
        over(model.digest)
    return Outcome(announcement.run, model.parameters, rounds.history)


def _end(
    ending: Ending,
    grid: Grid,
    sums: SumStore,
    keeper: Keeper | None,
    on_over: Callable[[RunOver], None],
    timeout: float,
) -> None:
    """Tell the labels that the run is over; an end that is on disk already stays as it is."""
    kept = keeper.ending.read() if keeper else None
    if not kept:
        on_over(ending.over)
        if keeper:
            keeper.ending.write(ending)
    told = tell(grid, kept or ending, sums, timeout=timeout)
    if keeper:
        keeper.ending.write(told)
    if not kept:
        tell_others(grid, ending, timeout=timeout)


def evaluation_noise(config: RunConfiguration, promises: Sequence[Promise]) -> float:
    """Standard deviation of the total noise that labels with these (ε, δ) add to each summed counter."""
    task = discovery.task(config.task)
    shape = CounterShape(task.norm_squared(len(config.classes)), len(task.counters(len(config.classes))))
    variance = 0.0
    for promise in promises:
        asked = config if config.distributed else promise
        counts = held_out_counts(config, shape, epsilon=asked.epsilon, delta=asked.delta)
        variance += counts.variance if counts else 0.0
    return math.sqrt(variance)


def _model(
    announcement: Announcement,
    agreement: Agreement,
    first: NDArray[np.float32] | None,
    snapshot: Snapshot | None,
    sums: SumStore,
) -> GlobalModel:
    """The model at the run's current state; a new run's initial parameters are stored for the labels."""
    config = announcement.config
    known: dict[str, Any] = {
        "run": announcement.run,
        "labels": len(agreement.members),
        "trainable": trainable_mask(config),
    }
    if snapshot:
        try:
            return GlobalModel.from_bytes(snapshot.model, config, **known)
        except LocalProtocolError:
            raise ConfigurationError(DAMAGED) from None
    if first is None:
        family, spec = discovery.family(config.task, config.family), discovery.spec_of(config.task, config.family)
        first = initial(family, spec, len(config.classes), config.seed)
    model = GlobalModel.start(config, **known, first=first)
    sums.begin(first)
    return model


def _with_lost_rounds(history: RunHistory, started: int, model: GlobalModel, sums: SumStore) -> RunHistory:
    """Mark a round that began without a saved result as lost: labels never answer a round twice.

    Its sum, if any, reached no label: it would have been sent with the next round.
    """
    for number in range(len(history.rounds) + 1, started + 1):
        history.rounds.append(RoundRecord(number, (), (), 0, 0.0, 0.0, BROKE_OFF))
        lost = RoundSum.aborted(number, model.ring)
        model.follow(lost)
        sums.add(number, lost.to_bytes(model.ring))
    return history
