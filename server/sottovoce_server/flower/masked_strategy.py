"""Masked rounds around any of Flower's averaging strategies.

`SecureAggregation(FedAdam(...), ...)` asks the inner strategy whom to train, collects masked reports, unmasks their sum
and hands the inner strategy that one aggregated result, as Flower's own differential-privacy wrappers do. Figures on
held-out tracks ride in the same masked vector: those of round t's model come back with round t + 1.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from logging import getLogger

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedProx, FedYogi, Strategy
from numpy.typing import NDArray

from sottovoce.errors import ConfigurationError, ProtocolError, RoundAborted
from sottovoce.privacy.held_out import COUNTER_OFFSET
from sottovoce.protocol import messages
from sottovoce.protocol.aggregator import Aggregator, Sum
from sottovoce.protocol.layout import Decoded, VectorLayout
from sottovoce.protocol.messages import Advert, Kind, Refusal
from sottovoce.protocol.topology import MOST_DRAWS
from sottovoce.run.records import CLIP, FRAME, PARAMETERS, RECORD, Action, clip_follows, parameters_digest
from sottovoce_server.flower.arrays import flat, moved
from sottovoce_server.rounds.decoded_sum import SumDecoder
from sottovoce_server.rounds.history import Promise, RoundRecord, RunHistory

LOG = getLogger(__name__)
AVERAGING = (FedAvg, FedAvgM, FedAdam, FedAdagrad, FedYogi, FedProx)
PREPARE_SECONDS = 60.0
"""Time that labels that missed a round are given to prepare for the next one, in seconds."""
Metrics = Callable[[NDArray[np.int64], Sequence[Promise]], Mapping[str, object]]
"""Figures from a round's summed counters and the promises of the labels in the sum, which their noise follows from."""


@dataclass
class _Round:
    """The round under way."""

    number: int
    kind: Kind
    arrays: ArrayRecord
    layout: VectorLayout
    participants: tuple[str, ...]
    bytes_before: int
    started: float = field(default_factory=time.monotonic)
    failed: RoundAborted | None = None


class SecureAggregation(Strategy):
    """An averaging strategy that sees only masked sums.

    Args:
        strategy: one of Flower's averaging strategies, which then sees a single reply a round.
        aggregator: the coordinator's side of this run's masked rounds.
        counters: how many whole-number sums ride along with the parameters.
        metrics: turns these sums into figures.
        on_change: called after joining and after each round, with the history so far.
        on_start: called with a round's number before anything of it is sent.
        on_model: called after each round, aborted or not, with its number and the global parameters.
        decoder: turns sums of whole numbers into updates, where noise is distributed; else None.
        trainable: which of the parameters the run trains, bool `[P]`; None for all of them.
        timeout: seconds that one exchange may take; a label that has not answered by then has dropped out.

    Raises:
        ConfigurationError: the inner strategy needs the single updates, which nobody can see here.
    """

    def __init__(
        self,
        strategy: FedAvg,
        *,
        aggregator: Aggregator,
        counters: int,
        metrics: Metrics,
        on_change: Callable[[RunHistory], None] = lambda _: None,
        on_start: Callable[[int], None] = lambda _: None,
        on_model: Callable[[int, ArrayRecord], None] = lambda _number, _arrays: None,
        decoder: SumDecoder | None = None,
        trainable: NDArray[np.bool_] | None = None,
        timeout: float = 3600.0,
    ) -> None:
        if type(strategy) not in AVERAGING:
            raise ConfigurationError(
                f"{type(strategy).__name__} looks at single updates, and masked rounds show only their sum.",
                hint=f"Use one of {', '.join(kind.__name__ for kind in AVERAGING)}.",
            )
        self.strategy = strategy
        self.history = RunHistory()
        self._aggregator = aggregator
        self._config = aggregator.config
        self._counters = counters
        self._metrics = metrics
        self._on_change = on_change
        self._on_start = on_start
        self._on_model = on_model
        self._decoder = decoder
        self._trainable = trainable
        self._timeout = timeout
        self._nodes: dict[str, int] = {}
        self._joined = False
        self._before = 0
        self._bytes_up = 0

    @property
    def nodes(self) -> Mapping[str, int]:
        """Flower's node of each label that takes part."""
        return dict(self._nodes)

    def resume(self, nodes: Mapping[str, int], history: RunHistory) -> None:
        """Go on with a run that a coordinator broke off, after the rounds in its history; none is repeated.

        Args:
            nodes: of the labels that have joined, whose adverts the aggregator has taken in again.
            history: of the run so far.
        """
        self._nodes = dict(sorted(nodes.items()))
        self.history = history
        self._before = len(history.rounds)
        self._joined = True
        for label in history.left_out:
            self._aggregator.leave_out(label)

    def summary(self) -> None:
        """Log the inner strategy's settings."""
        LOG.info("Masked rounds around %s", type(self.strategy).__name__)
        self.strategy.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask the nodes that the inner strategy samples, of those that have joined, for a masked report."""
        number = self._before + server_round
        if not self._joined:
            self._join(grid)
            self._on_model(0, arrays)
        sampled = {
            message.metadata.dst_node_id for message in self.strategy.configure_train(number, arrays, config, grid)
        }
        labels = tuple(label for label, node in self._nodes.items() if node in sampled)
        return self._start(number, Kind.TRAIN, labels, arrays, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Unmask the sum and hand it to the inner strategy; (None, None) when the round was aborted."""
        number = self._before + server_round
        decoded = self._finish(replies)
        update = None if decoded is None else decoded.update
        if self._decoder:
            integers = None if decoded is None else decoded.integers
            update = self._decoder.update(integers, number, len(self.history.rounds[-1].survivors))
        if update is None:
            self._on_model(number, self._round.arrays)
            return None, None
        mean = RecordDict(
            {
                self.strategy.arrayrecord_key: moved(self._round.arrays, self._placed(update)),
                "metrics": MetricRecord({self.strategy.weighted_by_key: 1}),
            }
        )
        reply = Message(mean, dst_node_id=0, message_type="train")
        model, metrics = self.strategy.aggregate_train(number, [reply])
        self._on_model(number, self._round.arrays if model is None else model)
        return model, metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing between rounds: figures ride with the next report. After the last round, one masked evaluation."""
        del config
        number = self._before + server_round
        if number < self._config.rounds:
            return []
        return self._start(number + 1, Kind.EVALUATE, tuple(self._nodes), arrays, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Unmask the last evaluation's sums, when this is the last round."""
        number = self._before + server_round
        if number == self._config.rounds:
            self._finish(replies)
        figures = self.history.metrics.get(number, {})
        return MetricRecord({name: value for name, value in figures.items() if isinstance(value, float)})

    def _join(self, grid: Grid) -> None:
        """Announce the run to every node, and set it up among those that answer with a valid advert.

        A label that does not complete the set-up is left behind, and the others begin it anew.
        """
        self._grid = grid
        nodes = list(grid.get_node_ids())
        for _ in range(MOST_DRAWS):
            self._announce(nodes)
            missing = self._set_up()
            if not missing:
                break
            LOG.warning("The run is set up anew without %s.", ", ".join(missing))
            self._aggregator.start_again(without=missing)
            nodes = [node for label, node in self._nodes.items() if label not in missing]
        else:
            raise RoundAborted(f"The run was set up {MOST_DRAWS} times, and each time some label did not complete it.")
        self._on_change(self.history)

    def _announce(self, nodes: Iterable[int]) -> None:
        """Ask nodes to take part.

        Raises:
            RoundAborted: too few do.
        """
        announcement = self._aggregator.announcement
        promises = []
        self._nodes = {}
        for node, answer in self._exchange(Action.ANNOUNCE, dict.fromkeys(nodes, announcement)):
            if isinstance(answer, Advert):
                config = self._config
                if config.private and (answer.epsilon > config.epsilon or answer.delta > config.delta):
                    # The release would have to say so of the whole model.
                    LOG.warning("%s promises less privacy than the run; it is left out.", answer.label)
                    continue
                self._nodes[answer.label] = node
                promises.append(Promise(answer.label, answer.epsilon, answer.delta))
            elif isinstance(answer, Refusal):
                self.history.refusals[answer.label] = answer.reason
        self._nodes = dict(sorted(self._nodes.items()))
        self._joined = True
        self.history.promises = tuple(sorted(promises, key=lambda promise: promise.label))
        least, refused = self._aggregator.agreement.n_min, sorted(self.history.refusals.items())
        if len(self._nodes) < least:
            self._on_change(self.history)
            raise RoundAborted(
                f"Only {len(self._nodes)} labels take part, and the agreement needs {least}.",
                hint="; ".join(f"{label} declined: {reason.explained}" for label, reason in refused) or None,
            )

    def _set_up(self) -> tuple[str, ...]:
        """The exchanges of the set-up; members that did not complete one of them."""
        requests: Mapping[str, messages.Message] = self._aggregator.fix_members(self._nodes)
        for action, close in (
            (Action.ROSTER, self._aggregator.close_reveals),
            (Action.NONCES, self._aggregator.close_ciphertexts),
        ):
            self._ask(action, requests)
            if self._aggregator.missing:
                return self._aggregator.missing
            requests = close()
        self._ask(Action.PAIRING, requests)
        return ()

    def _start(
        self, number: int, kind: Kind, labels: tuple[str, ...], arrays: ArrayRecord, grid: Grid
    ) -> list[Message]:
        """Begin a round; the messages that ask for reports. There are none where too few labels are prepared."""
        sent = arrays
        if self._decoder and clip_follows(self._config):
            sent = ArrayRecord({**arrays, CLIP: Array(np.array([self._decoder.clip], np.float32))})
        current = flat(sent)
        still = 0 if self._trainable is None else int((~self._trainable).sum())
        self._on_start(number)
        self._grid = grid
        before = self._bytes_up
        # A label that is asleep would not report either; it is not waited for twice as long.
        self._ask(
            Action.PREPARE, self._aggregator.prepare_requests(number), timeout=min(self._timeout, PREPARE_SECONDS)
        )
        participants = tuple(label for label in self._aggregator.ready(number) if label in labels)
        layout = VectorLayout.for_round(
            self._config,
            kind,
            parameters=current.size - still,
            counters=self._counters,
            participants=max(1, len(participants)),
        )
        self._round = _Round(number, kind, arrays, layout, participants, before)
        try:
            request = self._aggregator.start_round(
                number, kind, participants, parameters_digest(current), layout.elements
            )
        except RoundAborted as error:
            self._round.failed = error
            return []
        action = Action.TRAIN if kind is Kind.TRAIN else Action.EVALUATE
        frame = request.encode()
        return [_message(self._nodes[label], action, frame, sent) for label in participants]

    def _finish(self, replies: Iterable[Message]) -> Decoded | None:
        """Collect reports, cross-check, unmask; what the sum says, or None if the round was aborted."""
        current = self._round
        survivors: tuple[str, ...] = ()
        decoded, aborted = None, None
        try:
            total = self._sum(current, replies)
            survivors = total.survivors
            decoded = current.layout.decode(total.vector, len(survivors))
            if self._decoder and decoded.integers is not None:
                self._decoder.check(decoded.integers, len(survivors))
            if current.number - 1 in self._config.evaluated:
                sums = decoded.counters - len(survivors) * COUNTER_OFFSET
                promised = [promise for promise in self.history.promises if promise.label in survivors]
                self.history.metrics[current.number - 1] = self._metrics(sums, promised)
        except RoundAborted as error:
            aborted, survivors, decoded = error.message, (), None
            LOG.warning("Round %d was aborted: %s", current.number, aborted)
        self._leave_out_liars()
        if current.kind is Kind.TRAIN:
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
                )
            )
        self._on_change(self.history)
        return decoded

    def _sum(self, current: _Round, replies: Iterable[Message]) -> Sum:
        """A round's sum.

        Raises:
            RoundAborted: there is none.
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

    def _leave_out_liars(self) -> None:
        """Ask labels no more that are proved to have lied; the history, and every later request, names them."""
        for label, why in self._aggregator.liars.items():
            if label not in self.history.left_out:
                LOG.warning("%s is left out of the run: it %s.", label, why)
                self.history.left_out[label] = why
                self._aggregator.leave_out(label)

    def _placed(self, update: NDArray[np.float32]) -> NDArray[np.float32]:
        """An update of the parameters that the run moves, among all of them, `[P]`."""
        if self._trainable is None:
            return update
        whole = np.zeros(self._trainable.size, np.float32)
        whole[self._trainable] = update
        return whole

    def _ask(self, action: Action, requests: Mapping[str, messages.Message], *, timeout: float | None = None) -> None:
        """One exchange with members; whoever does not answer well is left behind."""
        self._exchange(action, {self._nodes[label]: request for label, request in requests.items()}, timeout=timeout)

    def _exchange(
        self, action: Action, requests: Mapping[int, messages.Message], *, timeout: float | None = None
    ) -> list[tuple[int, messages.Message]]:
        """Accepted answers, with their nodes."""
        if not requests:
            return []
        sent = [_message(node, action, request.encode()) for node, request in requests.items()]
        return self._receive(self._grid.send_and_receive(sent, timeout=timeout or self._timeout))

    def _receive(self, replies: Iterable[Message]) -> list[tuple[int, messages.Message]]:
        """Pass each reply to the aggregator; those it accepts, with their nodes."""
        accepted = []
        for reply in replies:
            node = reply.metadata.src_node_id
            if reply.has_error():
                LOG.info("Node %d does not answer: %s", node, reply.error.reason)
                continue
            try:
                frame = reply.content.config_records[RECORD][FRAME]
                if not isinstance(frame, bytes):
                    raise TypeError
                answer = messages.decode(frame)
                self._aggregator.receive(answer)
            except (ProtocolError, KeyError, TypeError) as error:
                LOG.warning("Node %d sent what it must not: %s", node, error)
                continue
            self._bytes_up += len(frame)
            accepted.append((node, answer))
        return accepted


def _message(node: int, action: Action, frame: bytes, arrays: ArrayRecord | None = None) -> Message:
    content = RecordDict({RECORD: ConfigRecord({FRAME: frame})})
    if arrays is not None:
        content[PARAMETERS] = arrays
    return Message(content, dst_node_id=node, message_type=action.value)
