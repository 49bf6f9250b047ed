"""The coordinator's set-up of a run over Flower: choose the version of the protocol, announce the run, fix its members.

And what every exchange with labels needs: sending, checking answers, and leaving labels out.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from logging import getLogger

from flwr.app import Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from sottovoce.errors import ProtocolError, RoundAborted
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol import messages
from sottovoce.protocol.adverts import roster_of
from sottovoce.protocol.aggregator import Aggregator
from sottovoce.protocol.message import VERSION
from sottovoce.protocol.messages import Advert, Announcement, Refusal, Report, Versions
from sottovoce.protocol.topology import MOST_DRAWS
from sottovoce.protocol.versions import Negotiation, newest_of
from sottovoce.protocol.violations import UnfollowedParameters
from sottovoce.run.records import FRAME, RECORD, Action, OwnWords
from sottovoce_server.flower.polling_grid import RETURN_PAUSE, RETURN_SECONDS
from sottovoce_server.flower.round_messages import message_to
from sottovoce_server.rounds.history import Promise, RunHistory

LOG = getLogger(__name__)
VERSIONS_SECONDS = 60.0
"""Time for labels to say which versions of the protocol they speak, seconds."""


class Joining:
    """The members of one run, from the question which versions they speak to the completed set-up.

    Args:
        grid: Flower's connection to the labels.
        aggregator: the coordinator's side of this run's masked rounds.
        on_change: called after joining, with the history so far.
        remembered: what labels said in their latest earlier runs, by node.
        named: called before each request; returns labels to leave out by the coordinator's people's decision, and why.
        timeout: seconds that one exchange may take; a label that has not answered by then has dropped out.
    """

    def __init__(
        self,
        grid: Grid,
        aggregator: Aggregator,
        *,
        on_change: Callable[[RunHistory], None],
        remembered: Mapping[int, OwnWords] | None,
        named: Callable[[], Mapping[str, str]],
        timeout: float,
    ) -> None:
        self.history = RunHistory()
        self.stands: dict[str, int] = {}
        """Number of rounds that each label has applied, by its last report; a label without parameters is absent."""
        self._grid = grid
        self._aggregator = aggregator
        self._config = aggregator.config
        self._negotiation = Negotiation(
            aggregator.announcement.run, aggregator.agreement.digest, roster_of(aggregator.agreement)
        )
        self._on_change = on_change
        self._remembered = remembered or {}
        self._named = named
        self._timeout = timeout
        self._nodes: dict[str, int] = {}
        self._met: dict[str, int] = {}
        self._joined = False
        self._bytes_up = 0
        self._unfollowed: set[str] = set()
        self._away: set[int] = set()

    @property
    def nodes(self) -> Mapping[str, int]:
        """Flower's node of each participating label."""
        return dict(self._nodes)

    @property
    def met(self) -> Mapping[str, int]:
        """Flower's node of each label that ever joined the run, including those that do not take part."""
        return dict(self._met)

    def _join(self) -> None:
        """Announce the run to every node, and set it up among those that answer with a valid advert.

        If a label does not complete the set-up, it is excluded and the others start again.
        """
        nodes = self._negotiate()
        for _ in range(MOST_DRAWS):
            self._announce(nodes)
            missing = None if self._may_be_newer else self._set_up()
            if missing == ():
                break
            missing = missing or ()
            version = self._negotiation.chosen(self._nodes.keys() - set(missing))
            LOG.warning("The set-up is restarted in version %d, without: %s.", version, ", ".join(missing) or "nobody")
            self._aggregator.start_again(without=missing, version=version)
            nodes = [node for label, node in self._nodes.items() if label not in missing]
        else:
            raise RoundAborted(f"The run was set up {MOST_DRAWS} times, but some label never completed it.")
        self.history.protocol = self._aggregator.announcement.version
        self.history.behind = tuple(label for label in self._nodes if VERSION not in self._negotiation.spoken_by(label))
        self._on_change(self.history)

    def _negotiate(self) -> list[int]:
        """Choose the version of the protocol; a label that does not answer counts as one of the former release.

        Nodes that Flower takes for connected and cannot reach are asked again, for up to `RETURN_SECONDS`.

        Returns:
            The nodes that were reached.
        """
        deadline = time.monotonic() + min(self._timeout, RETURN_SECONDS)
        asked: set[int] = set()
        while True:
            nodes = set(self._grid.get_node_ids())
            self._away -= nodes
            requests = dict.fromkeys(sorted(nodes - asked), self._negotiation.request)
            self._exchange(Action.ANNOUNCE, requests, timeout=min(self._timeout, VERSIONS_SECONDS))
            asked = (asked | nodes) - self._away
            if not self._away or time.monotonic() >= deadline:
                break
            time.sleep(RETURN_PAUSE)
        answered = self._negotiation.answered
        silent = len(asked) - len(answered)
        if silent:
            LOG.warning("%d labels do not say which versions they speak; the former release does not.", silent)
        version = self._negotiation.chosen(answered, silent=silent)
        self._aggregator.announced_in(version)
        self._leave_out(self._negotiation.left_out(version))
        return sorted(asked)

    @property
    def _may_be_newer(self) -> bool:
        """Whether all labels that take part speak a newer version than the run uses."""
        return self._negotiation.chosen(self._nodes) > self._aggregator.announcement.version

    def _announce(self, nodes: Iterable[int]) -> None:
        """Ask nodes to take part.

        Raises:
            RoundAborted: too few accept.
        """
        announcement = self._aggregator.announcement
        self._leave_out(self._named())
        promises = []
        self._nodes = {}
        for node, answer in self._exchange(Action.ANNOUNCE, dict.fromkeys(nodes, announcement)):
            if isinstance(answer, Advert):
                self._met[answer.label] = node
                self._negotiation.show(answer.label, answer.version)
            if isinstance(answer, Advert) and answer.label in self.history.left_out:
                continue
            if isinstance(answer, Advert):
                config = self._config
                if config.private and (answer.epsilon > config.epsilon or answer.delta > config.delta):
                    # The release would have to state it for the whole model.
                    LOG.warning("%s guarantees less privacy than the run requires; it is left out.", answer.label)
                    continue
                self._nodes[answer.label] = node
                promises.append(Promise(answer.label, answer.epsilon, answer.delta))
            elif isinstance(answer, Refusal):
                self.history.refusals[answer.label] = answer.reason
                if node in self._remembered and answer.reason is RefusalReason.UNAVAILABLE:
                    LOG.warning("%s was sent its own earlier advert: its ledger may be an older copy.", answer.label)
        self._nodes = dict(sorted(self._nodes.items()))
        self._joined = True
        self.history.promises = tuple(sorted(promises, key=lambda promise: promise.label))
        least, refused = self._aggregator.agreement.n_min, sorted(self.history.refusals.items())
        if len(self._nodes) < least:
            self._on_change(self.history)
            raise RoundAborted(
                f"Only {len(self._nodes)} labels take part, but the agreement needs {least}.",
                hint="; ".join(f"{label} declined: {reason.explained}" for label, reason in refused) or None,
            )

    def _set_up(self) -> tuple[str, ...] | None:
        """Carry out the set-up.

        Returns:
            Members that did not complete it; None if all of them show that they speak a newer version of the protocol.
        """
        requests: Mapping[str, messages.Message] = self._aggregator.fix_members(self._nodes)
        for action, close in (
            (Action.ROSTER, self._aggregator.close_reveals),
            (Action.NONCES, self._aggregator.close_ciphertexts),
        ):
            self._ask(action, requests)
            if self._aggregator.missing:
                return self._aggregator.missing
            for label, nonce in self._aggregator.nonces.items():
                self._negotiation.show(label, newest_of(nonce))
            if self._may_be_newer:
                return None
            requests = close()
        self._ask(Action.PAIRING, requests)
        return ()

    def _leave_out(self, labels: Mapping[str, str]) -> None:
        """Stop asking labels; the history and every later request name them."""
        for label, why in labels.items():
            if label not in self.history.left_out:
                LOG.warning("%s is left out of the run: %s.", label, why)
                self.history.left_out[label] = why
                self._aggregator.leave_out(label)

    def _ask(self, action: Action, requests: Mapping[str, messages.Message], *, timeout: float | None = None) -> None:
        """One exchange with members; those without a valid answer are left behind."""
        self._exchange(action, {self._nodes[label]: request for label, request in requests.items()}, timeout=timeout)

    def _exchange(
        self, action: Action, requests: Mapping[int, messages.Message], *, timeout: float | None = None
    ) -> list[tuple[int, messages.Message]]:
        """Accepted answers, with their nodes."""
        if not requests:
            return []
        sent = [
            message_to(
                node,
                action,
                request.encode(),
                own=self._remembered.get(node) if isinstance(request, Announcement) else None,
            )
            for node, request in requests.items()
        ]
        return self._receive(self._grid.send_and_receive(sent, timeout=timeout or self._timeout))

    def _receive(self, replies: Iterable[Message]) -> list[tuple[int, messages.Message]]:
        """Pass each reply to the aggregator; return accepted ones with their nodes."""
        accepted = []
        for reply in replies:
            node = reply.metadata.src_node_id
            if reply.has_error():
                if reply.error.code == ErrorCode.NODE_UNAVAILABLE:
                    self._away.add(node)
                self._note_refusal(node, reply.error.reason)
                continue
            try:
                frame = reply.content.config_records[RECORD][FRAME]
                if not isinstance(frame, bytes):
                    raise TypeError
                answer = messages.decode(frame)
                if isinstance(answer, Versions):
                    self._negotiation.take(answer)
                else:
                    self._aggregator.receive(answer)
            except (ProtocolError, KeyError, TypeError) as error:
                LOG.warning("Node %d violated the protocol: %s", node, error)
                continue
            if isinstance(answer, Report):
                self.stands[answer.label] = answer.round - 1
            self._bytes_up += len(frame)
            accepted.append((node, answer))
        return accepted

    def _note_refusal(self, node: int, reason: str | None) -> None:
        """Log why a node does not answer."""
        LOG.info("Node %d does not answer: %.80a", node, reason)  # the node's own text
        label = next((label for label, known in self._nodes.items() if known == node), None)
        if label is not None and reason == UnfollowedParameters.__name__:
            LOG.warning("%s says that the round's model does not follow from the sums that it received.", label)
            self._unfollowed.add(label)
            self.stands.pop(label, None)  # it may have lost its model: next time it gets everything again
