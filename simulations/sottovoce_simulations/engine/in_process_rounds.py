"""Masked rounds among labels in one process: the real participants and aggregator without a network.

For tests, vectors and measurements of the protocol alone; `simulate` simulates whole trainings.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from sottovoce.federation.agreement import Agreement, Member
from sottovoce.federation.identity import Identity
from sottovoce.protocol.aggregator import Aggregator, Sum
from sottovoce.protocol.messages import (
    Announcement,
    Kind,
    Message,
    ReportRequest,
    decode,
)
from sottovoce.protocol.participant import Participant
from sottovoce.protocol.ring import RingArray
from sottovoce.run.configuration import Balance, RunConfiguration, Unit
from sottovoce_simulations.engine.label_dropouts import Moment

M = TypeVar("M", bound=Message)
PARAMETERS_DIGEST = bytes(32)


def carried(message: M) -> M:
    """The message after encoding and decoding."""
    arrived = decode(message.encode())
    if not isinstance(arrived, type(message)):
        raise TypeError(f"A {type(message).__name__} arrived as a {type(arrived).__name__}.")
    return arrived


def plain_config(ring_bits: int) -> RunConfiguration:
    """A small run without special options, in the given ring."""
    return RunConfiguration(
        task="style",
        family="svm",
        classes=("polka", "waltz"),
        feature_spec="",
        first_parameters="0" * 64,
        rounds=10,
        local_steps=1,
        batch_size=16,
        learning_rate=0.1,
        momentum=0.0,
        max_grad_norm=1.0,
        private=True,
        epsilon=8.0,
        delta=1e-5,
        unit=Unit.TRACK,
        distributed=None,
        balance=Balance.NONE,
        segments_per_track=1,
        update_clip=1.0,
        ring_bits=ring_bits,
        server_optimizer="fedavg",
        server_learning_rate=1.0,
        seed=0,
    )


class InMemoryRounds:
    """A coordinator and its labels in one process; every message is encoded and decoded.

    Args:
        labels: number of labels, named `label-000`, `label-001`, …
        ring_bits: the run's.
        cross_check: the agreement's.
        n_min: the agreement's.
    """

    def __init__(self, labels: int, *, ring_bits: int = 32, cross_check: bool = True, n_min: int = 3) -> None:
        self.identities = {f"label-{number:03}": Identity.generate() for number in range(labels)}
        self.agreement = Agreement(
            federation="table",
            coordinator_key=Identity.generate().public_key,
            members=tuple(Member(name, identity.public_key) for name, identity in self.identities.items()),
            n_min=n_min,
            cross_check=cross_check,
        )
        self.aggregator = Aggregator(self.agreement, Announcement.of(self.agreement, plain_config(ring_bits)))
        self.participants: dict[str, Participant] = {}

    def join(self, labels: Iterable[str] | None = None) -> None:
        """Let some labels, or all, complete the run's set-up."""
        self.advertise(labels)
        self._answer(self.aggregator.fix_members())
        self._answer(self.aggregator.close_reveals())
        self._answer(self.aggregator.close_ciphertexts())

    def advertise(self, labels: Iterable[str] | None = None) -> None:
        """Let some labels, or all, answer the announcement, which begins the set-up."""
        for label in self.identities if labels is None else labels:
            participant, advert = Participant.join(
                carried(self.aggregator.announcement),
                label=label,
                identity=self.identities[label],
                agreement=self.agreement,
                epsilon=8.0,
                delta=1e-5,
            )
            self.participants[label] = participant
            self.aggregator.receive(carried(advert))

    def request(self, number: int, elements: int, kind: Kind = Kind.TRAIN) -> ReportRequest:
        """Open a round among all members; those that missed the previous one prepare first."""
        self._answer(self.aggregator.prepare_requests(number))
        participants = self.aggregator.ready(number)
        request = self.aggregator.start_round(number, kind, participants, PARAMETERS_DIGEST, elements)
        return carried(request)

    def report(
        self, request: ReportRequest, vectors: Mapping[str, RingArray], vanished: Mapping[str, Moment] | None = None
    ) -> None:
        """Let every participant report its vector (masked in place), except those that drop out before."""
        silent = _silent(vanished, Moment.BEFORE_REPORT)
        for label in self.aggregator.participants:
            if label not in silent:
                participant = self.participants[label]
                participant.accept(request, PARAMETERS_DIGEST)
                self.aggregator.receive(carried(participant.report(vectors[label])))

    def unmask(self, vanished: Mapping[str, Moment] | None = None) -> Sum:
        """Close the reports, cross-check if the agreement requires it, and unmask.

        Raises:
            RoundAborted: too few are left.
        """
        silent = _silent(vanished, Moment.BEFORE_REPORT)
        requests: Mapping[str, Message] = self.aggregator.close_reports()
        if self.agreement.cross_check:
            silent |= _silent(vanished, Moment.BEFORE_CROSS_CHECK)
            self._answer(requests, silent)
            requests = self.aggregator.close_cross_check()
        self._answer(requests, silent | _silent(vanished, Moment.BEFORE_UNMASK))
        return self.aggregator.finish()

    def _answer(self, requests: Mapping[str, Message], silent: frozenset[str] = frozenset()) -> None:
        for label, request in requests.items():
            if label not in silent:
                self.aggregator.receive(carried(self.participants[label].answer(carried(request))))


def _silent(vanished: Mapping[str, Moment] | None, moment: Moment) -> frozenset[str]:
    return frozenset(label for label, at in (vanished or {}).items() if at is moment)
