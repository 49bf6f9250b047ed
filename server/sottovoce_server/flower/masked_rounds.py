"""The coordinator's rounds over Flower: request masked reports, unmask their sum, and apply it to the model.

Labels are never sent the model: they receive the initial parameters once, and afterwards the sums that they lack.
Figures on held-out tracks are part of the same masked vector: those of round t's model arrive with round t + 1.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from logging import getLogger

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid
from numpy.typing import NDArray

from sottovoce.errors import RoundAborted
from sottovoce.privacy.held_out import COUNTER_OFFSET
from sottovoce.protocol import messages
from sottovoce.protocol.aggregator import Aggregator, Sum
from sottovoce.protocol.layout import Decoded, VectorLayout
from sottovoce.protocol.messages import Kind
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import Action, OwnWords
from sottovoce.run.round_sum import RoundSum
from sottovoce_server.flower.joining import Joining
from sottovoce_server.flower.round_messages import Lacked, message_to
from sottovoce_server.rounds.history import Promise, RoundRecord, RunHistory
from sottovoce_server.rounds.sum_store import SumStore

LOG = getLogger(__name__)
PREPARE_SECONDS = 60.0
"""Time for labels that missed a round to prepare for the next one, seconds."""
WAIT_SECONDS = 1.0
"""Interval between checks of which labels are connected, seconds."""
Metrics = Callable[[NDArray[np.int64], Sequence[Promise]], Mapping[str, object]]
"""Computes figures from a round's summed counters and the participating labels' (ε, δ), which determine the noise."""


@dataclass
class _Round:
    """The current round."""

    number: int
    kind: Kind
    layout: VectorLayout
    participants: tuple[str, ...]
    bytes_before: int
    started: float = field(default_factory=time.monotonic)
    failed: RoundAborted | None = None


class MaskedRounds(Joining):
    """All rounds of one run.

    Args:
        grid: Flower's connection to the labels.
        aggregator: the coordinator's side of this run's masked rounds.
        model: the run's model, before the first round or at the point where `resume` continues.
        sums: stores sums for labels that lack them.
        counters: number of whole-number sums in addition to the parameters.
        metrics: computes figures from these sums.
        on_change: called after joining and after each round, with the history so far.
        on_start: called with a round's number before anything is sent.
        on_model: called after joining and after each round, aborted or not.
        remembered: what labels said in their latest earlier runs, by node.
        named: called before each request; returns labels to leave out by the coordinator's people's decision, and why.
        timeout: seconds that one exchange may take; a label that has not answered by then has dropped out.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        aggregator: Aggregator,
        model: GlobalModel,
        sums: SumStore,
        counters: int,
        metrics: Metrics,
        on_change: Callable[[RunHistory], None] = lambda _: None,
        on_start: Callable[[int], None] = lambda _: None,
        on_model: Callable[[], None] = lambda: None,
        remembered: Mapping[int, OwnWords] | None = None,
        named: Callable[[], Mapping[str, str]] = dict,
        timeout: float = 3600.0,
    ) -> None:
        super().__init__(grid, aggregator, on_change=on_change, remembered=remembered, named=named, timeout=timeout)
        self._model = model
        self._sums = sums
        self._counters = counters
        self._metrics = metrics
        self._on_start = on_start
        self._on_model = on_model

    def resume(self, nodes: Mapping[str, int], stands: Mapping[str, int], history: RunHistory) -> None:
        """Continue an interrupted run after the rounds in its history; none is repeated.

        Args:
            nodes: nodes of the joined labels, whose adverts the aggregator has accepted again.
            stands: number of rounds that each label has applied.
            history: the run's history so far.
        """
        self._nodes, self.stands = dict(sorted(nodes.items())), dict(stands)
        self._met = dict(self._nodes)
        self.history = history
        self._joined = True
        for label in history.left_out:
            self._aggregator.leave_out(label)

    def play(self, *, evaluate: bool = True) -> None:
        """Set the run up unless it already is, and carry out the remaining rounds.

        Args:
            evaluate: whether to carry out the final evaluation too.

        Raises:
            RoundAborted: too few labels take part.
        """
        if not self._joined:
            self._join()
            self._on_model()
        for number in range(self._model.rounds + 1, self._config.rounds + 1):
            self._play(number, Kind.TRAIN, self._connected())
            self._on_model()
        if evaluate:
            self._play(self._config.rounds + 1, Kind.EVALUATE, tuple(self._nodes))
            self._on_model()

    def _connected(self) -> tuple[str, ...]:
        """Labels that can be asked now. Waits while fewer than `n_min` nodes are connected, which a round needs."""
        while True:
            nodes = set(self._grid.get_node_ids())
            if len(nodes) >= self._aggregator.agreement.n_min:
                return tuple(label for label, node in self._nodes.items() if node in nodes)
            time.sleep(WAIT_SECONDS)

    def _play(self, number: int, kind: Kind, labels: tuple[str, ...]) -> None:
        """Carry out one round, including its preparation."""
        requests = self._start(number, kind, labels)
        self._finish(self._grid.send_and_receive(requests, timeout=self._timeout) if requests else ())

    def _start(self, number: int, kind: Kind, labels: tuple[str, ...]) -> list[Message]:
        """Begin a round; return the requests for reports, or none if too few labels are prepared."""
        self._on_start(number)
        self._leave_out(self._named())
        before = self._bytes_up
        self._unfollowed.clear()
        # A label that is not responding would not report either; do not wait for it twice.
        self._ask(
            Action.PREPARE, self._aggregator.prepare_requests(number), timeout=min(self._timeout, PREPARE_SECONDS)
        )
        participants = tuple(label for label in self._aggregator.ready(number) if label in labels)
        layout = VectorLayout.for_round(
            self._config,
            kind,
            parameters=self._model.coordinates,
            counters=self._counters,
            participants=max(1, len(participants)),
        )
        self._round = _Round(number, kind, layout, participants, before)
        try:
            request = self._aggregator.start_round(number, kind, participants, self._model.digest, layout.elements)
        except RoundAborted as error:
            self._round.failed = error
            return []
        action = Action.TRAIN if kind is Kind.TRAIN else Action.EVALUATE
        frame, lacked = request.encode(), Lacked(self._sums, number)
        return [
            message_to(self._nodes[label], action, frame, lacked.by(self.stands.get(label))) for label in participants
        ]

    def _finish(self, replies: Iterable[Message]) -> None:
        """Collect reports, cross-check, unmask, and update the model; an aborted round is recorded as such."""
        current = self._round
        survivors: tuple[str, ...] = ()
        decoded, aborted = None, None
        followed = RoundSum.aborted(current.number, self._model.ring)
        try:
            total = self._sum(current, replies)
            survivors = total.survivors
            decoded = current.layout.decode(total.vector, len(survivors))
            if current.kind is Kind.TRAIN:
                coordinates = total.vector[: current.layout.parameters]
                moving = RoundSum(current.number, len(current.participants), len(survivors), coordinates)
                self._model.follow(moving)
                followed = moving
            self._measure(current, decoded, survivors)
        except RoundAborted as error:
            aborted, survivors, decoded = error.message, (), None
            LOG.warning("Round %d was aborted: %s", current.number, aborted)
        self._leave_out(self._aggregator.liars)
        if current.kind is Kind.TRAIN:
            if followed.is_aborted:
                self._model.follow(followed)
            self._sums.add(current.number, followed.to_bytes(self._model.ring))
            self.history.rounds.append(
                RoundRecord(
                    number=current.number,
                    participants=current.participants,
                    survivors=survivors,
                    clipped=decoded.clipped if decoded else 0,
                    bytes_up=(self._bytes_up - current.bytes_before) / max(1, len(survivors)),
                    seconds=time.monotonic() - current.started,
                    aborted=aborted,
                    liars=tuple(self._aggregator.liars),
                    disputes=self._aggregator.disputes,
                    unfollowed=tuple(sorted(self._unfollowed)),
                )
            )
        self._on_change(self.history)

    def _measure(self, current: _Round, decoded: Decoded, survivors: tuple[str, ...]) -> None:
        """Compute figures of the round's initial model, if it is to be evaluated."""
        if current.number - 1 in self._config.evaluated:
            sums = decoded.counters - len(survivors) * COUNTER_OFFSET
            promised = [promise for promise in self.history.promises if promise.label in survivors]
            self.history.metrics[current.number - 1] = self._metrics(sums, promised)

    def _sum(self, current: _Round, replies: Iterable[Message]) -> Sum:
        """The sum of a round.

        Raises:
            RoundAborted: too few labels answered.
        """
        if current.failed:
            raise current.failed
        self._receive(replies)
        requests: Mapping[str, messages.Message] = self._aggregator.close_reports()
        if self._aggregator.agreement.cross_check:
            self._ask(Action.CROSS_CHECK, requests)
            requests = self._aggregator.close_cross_check()
        self._ask(Action.UNMASK, requests)
        return self._aggregator.finish()
