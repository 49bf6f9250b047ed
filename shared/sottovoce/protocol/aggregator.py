"""The coordinator's side of one run: it adds masked reports as they arrive, and reveals their sum or nothing.

It keeps one vector, for any number of labels, and the sealed shares of reporting labels. `receive` refuses a message
without changing any state: a label whose report is refused has simply not reported.

    aggregator.fix_members() → close_reveals() → close_ciphertexts(); with `missing` labels: start_again(without=...)
    then, for each round: start_round(...) → close_reports() → close_cross_check() → finish()
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sottovoce.errors import LocalProtocolError, RoundAborted
from sottovoce.federation.agreement import Agreement
from sottovoce.protocol.members import Members
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    Ciphertexts,
    CrossCheckRequest,
    CrossCheckSignature,
    Kind,
    Message,
    Preparation,
    Prepared,
    Refusal,
    Report,
    ReportRequest,
    Reveal,
    Shares,
    Signature,
    UnmaskRequest,
)
from sottovoce.protocol.prg import add_masks
from sottovoce.protocol.recovery import Boxes, Opening, masks_left
from sottovoce.protocol.ring import RingArray
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.sharing import boxes_of
from sottovoce.protocol.signatures import is_signature
from sottovoce.protocol.states import Phase, after
from sottovoce.protocol.versions import check_version
from sottovoce.protocol.violations import (
    BadSignature,
    Malformed,
    NotAParticipant,
    WrongBoxes,
    WrongRound,
    WrongShares,
    WrongVector,
)


@dataclass(frozen=True)
class Sum:
    """Result of a round.

    Args:
        round: the round's number.
        kind: what the round carries.
        vector: `[elements]`, the exact sum of the survivors' vectors in the ring.
        survivors: labels whose vectors are in the sum, in ascending order.
    """

    round: int
    kind: Kind
    vector: RingArray = field(repr=False)
    survivors: tuple[str, ...]


@dataclass
class _Gathering:
    """State of the round under way; `phase` is the step that the coordinator waits in, and `close_…` ends."""

    round: Round
    phase: Phase
    total: RingArray
    preparations: dict[str, Preparation]
    reports: dict[str, Boxes] = field(default_factory=dict)
    survivors: tuple[str, ...] = ()
    signatures: dict[str, bytes] = field(default_factory=dict)
    shares: dict[str, Shares] = field(default_factory=dict)

    @property
    def opening(self) -> Opening:
        return Opening(self.round, self.survivors, self.reports, self.preparations)


class Aggregator(Members):
    """The coordinator's role in one run.

    Args:
        agreement: the federation's agreement.
        announcement: the run's announcement.

    Raises:
        WrongAgreement: the announcement names another agreement.
        Malformed: its configuration does not match its digest.
    """

    def __init__(self, agreement: Agreement, announcement: Announcement) -> None:
        super().__init__(agreement, announcement)
        self._gathering: _Gathering | None = None

    @property
    def participants(self) -> tuple[str, ...]:
        """Labels of the round under way, in ascending order; none between rounds."""
        return self._gathering.round.participants if self._gathering else ()

    def start_round(
        self, number: int, kind: Kind, participants: Iterable[str], parameters_digest: bytes, elements: int
    ) -> ReportRequest:
        """Open a round, abandoning the one under way, if any.

        Args:
            number: newer than any before.
            kind: what the round carries.
            participants: labels that are `ready`.
            parameters_digest: digest of the parameters that the round starts from (`GlobalModel.digest`).
            elements: length of the vector, `VectorLayout.elements`.

        Returns:
            The request for every participant, the same bytes to each.

        Raises:
            LocalProtocolError: the number is not new, or a label is not ready.
            RoundAborted: there are too few participants.
        """
        session, labels = self.session, sorted(set(participants))
        if number <= self._newest_round:
            raise LocalProtocolError(f"Round {number} does not come after round {self._newest_round}.")
        ready = self.ready(number)
        absent = [label for label in labels if label not in ready]
        if absent:
            raise LocalProtocolError(f"'{absent[0]}' is not ready for round {number}.")
        if len(labels) < session.least_survivors:
            raise RoundAborted(
                f"Round {number} would have {len(labels)} participants; {session.least_survivors} of the run's "
                f"{len(session.members)} members are needed.",
                liars=tuple(self.liars),
            )
        request = ReportRequest(
            run=session.run,
            session=session.digest,
            round=number,
            kind=kind,
            parameters_digest=parameters_digest,
            elements=elements,
            participants=tuple(Prepared(label, self._preparations[label].digest) for label in labels),
            left_out=self.left_out,
            version=self.announcement.version,
        )
        for label in labels:
            self._move(label, ReportRequest)
        self._newest_round = number
        self._gathering = _Gathering(
            Round(session, request),
            Phase.REPORTING,
            self._ring.zeros(elements),
            {label: self._preparations[label] for label in labels},
        )
        return request

    def receive(self, message: Message) -> None:
        """Accept a label's message. A refused message changes no state.

        Raises:
            RemoteProtocolError: the subclass says why the message was refused.
        """
        check_version(message, self.announcement.version)
        match message:
            case Advert():
                self._first(message, self._assembly.take_advert)
            case Refusal():
                self._first(message, self._assembly.take_refusal)
            case Reveal():
                self._in_setup(message, self._assembly.take_reveal)
            case Ciphertexts():
                self._in_setup(message, self._assembly.take_ciphertexts)
            case Preparation():
                self._in_setup(message, self._take_preparation)
            case Report():
                self._receive_report(message)
            case CrossCheckSignature():
                self._receive_signature(message)
            case Shares():
                self._receive_shares(message)
            case _:
                raise Malformed(f"A {type(message).__name__} is not a message that labels send.")

    def close_reports(self) -> dict[str, CrossCheckRequest] | dict[str, UnmaskRequest]:
        """End reporting: labels that have not reported have dropped out. Return the next request for each survivor.

        Raises:
            RoundAborted: too few labels are left. Nothing was revealed.
            LocalProtocolError: the round is not at this step.
        """
        gathering = self._under_way(Phase.REPORTING)
        survivors = self._in_phase(Phase.REPORTED)
        self._need(len(survivors), self.session.least_survivors, "reported")
        holders = self._holders(survivors)
        self._need(len(holders), self.session.topology.share_threshold, "hold shares and reported")
        self._release(Phase.REPORTING)
        gathering.survivors = survivors
        if not self._agreement.cross_check:
            return self._unmask_requests(gathering, holders)
        request = gathering.round.request
        gathering.phase = Phase.CHECKING
        for label in survivors:
            self._move(label, CrossCheckRequest)
        return dict.fromkeys(
            survivors, CrossCheckRequest(request.run, request.round, survivors, version=request.version)
        )

    def close_cross_check(self) -> dict[str, UnmaskRequest]:
        """End the cross-check. Return the next request for each share holder that signed.

        Raises:
            RoundAborted: too few labels have signed. Nothing was revealed.
            LocalProtocolError: the round is not at this step.
        """
        gathering = self._under_way(Phase.CHECKING)
        signers = self._in_phase(Phase.CHECKED)
        self._need(len(signers), self.session.topology.threshold, "signed the survivor set")
        holders = self._holders(signers)
        self._need(len(holders), self.session.topology.share_threshold, "hold shares and signed")
        requests = self._unmask_requests(gathering, holders)
        self._release(Phase.CHECKING)
        self._release(Phase.CHECKED)
        return requests

    def finish(self) -> Sum:
        """Remove the masks. `liars` and `disputes` then name labels that the answers prove or suspect of lying.

        Raises:
            RoundAborted: too few shares arrived, so nothing was revealed; or too few valid ones, or a label shared
                another secret than it committed to, and is named as a liar.
        """
        gathering = self._under_way(Phase.UNMASKING)
        self._need(len(gathering.shares), self.session.topology.share_threshold, "sent their shares")
        self._close()
        request = gathering.round.request
        try:
            added, subtracted = masks_left(gathering.opening, gathering.shares, self._evidence)
        except RoundAborted as error:
            raise RoundAborted(error.message, liars=tuple(self.liars), disputes=self.disputes) from None
        add_masks(gathering.total, plus=subtracted, minus=added)
        self._ring.reduce(gathering.total)
        return Sum(request.round, request.kind, gathering.total, gathering.survivors)

    def _receive_report(self, report: Report) -> None:
        gathering = self._answered(report, report.label, report.run, report.round)
        round_, following = gathering.round, report.following
        if report.request != round_.request.digest:
            raise WrongRound(f"The report of '{report.label}' answers another request for round {report.round}.")
        expected = round_.request.elements * self._ring.element_bytes
        if report.ring_bits != self._ring.bits or len(report.vector) != expected:
            raise WrongVector(f"The report of '{report.label}' has another ring or length.")
        if len(report.boxes) != boxes_of(report.label, self.session):
            raise WrongBoxes(f"The report of '{report.label}' does not contain one box for each other share holder.")
        if (following.label, following.round) != (report.label, report.round + 1):
            raise WrongRound(f"The report of '{report.label}' does not prepare for the round after it.")
        self._check_preparation(following)
        self._check_signed(report)
        self._move(report.label, Report)
        self._ring.add_packed(gathering.total, report.vector)
        gathering.reports[report.label] = Boxes(report.commitment, report.boxes)
        self._preparations[report.label] = following

    def _receive_signature(self, message: CrossCheckSignature) -> None:
        gathering = self._answered(message, message.label, message.run, message.round)
        digest = gathering.round.survivors_digest(gathering.survivors)
        if not is_signature(self._identities[message.label], message.signature, "cross-check", digest):
            raise BadSignature(f"'{message.label}' has not signed the survivor set of round {message.round}.")
        self._move(message.label, CrossCheckSignature)
        gathering.signatures[message.label] = message.signature

    def _receive_shares(self, shares: Shares) -> None:
        gathering = self._answered(shares, shares.label, shares.run, shares.round)
        if shares.survivors_digest != gathering.round.survivors_digest(gathering.survivors):
            raise WrongRound(f"The shares of '{shares.label}' are for another survivor set.")
        participants = set(gathering.round.participants)
        complained = {complaint.label for complaint in shares.complaints}
        if not complained <= participants - {shares.label} or (
            len(shares.values) + len(complained) != len(participants)
        ):
            raise WrongShares(f"'{shares.label}' sent another number of shares than requested.")
        self._check_signed(shares)
        self._move(shares.label, Shares)
        gathering.shares[shares.label] = shares

    def _answered(self, message: Message, label: str, run: bytes, number: int) -> _Gathering:
        """The round that a message answers, after checking its sender and round number."""
        if label not in self._phases:
            raise NotAParticipant(f"'{label}' takes no part in the run.")
        after(self._phases[label], type(message))
        gathering = self._under_way(*Phase)
        gathering.round.check_answers(run, number)
        return gathering

    def _check_signed(self, message: Report | Shares) -> None:
        if not message.is_signed_by(self._identities[message.label]):
            raise BadSignature(
                f"The {type(message).__name__.lower()} of '{message.label}' is not signed by that label."
            )

    def _holders(self, labels: Iterable[str]) -> list[str]:
        return [label for label in labels if label in self.session.topology.holders]

    def _unmask_requests(self, gathering: _Gathering, holders: Iterable[str]) -> dict[str, UnmaskRequest]:
        gathering.phase = Phase.UNMASKING
        request, opening = gathering.round.request, gathering.opening
        signatures = tuple(Signature(label, gathering.signatures[label]) for label in sorted(gathering.signatures))
        requests = {}
        for label in holders:
            self._move(label, UnmaskRequest)
            requests[label] = UnmaskRequest(
                request.run,
                request.round,
                gathering.survivors,
                signatures,
                opening.delivery(label),
                version=request.version,
            )
        return requests

    def _in_phase(self, phase: Phase) -> tuple[str, ...]:
        return tuple(label for label in self.participants if self._phases[label] is phase)

    def _release(self, phase: Phase) -> None:
        """Labels still in this phase leave the round."""
        for label in self._in_phase(phase):
            self._phases[label] = Phase.IDLE

    def _under_way(self, *phases: Phase) -> _Gathering:
        if self._gathering is None:
            raise LocalProtocolError("No round is under way.")
        if self._gathering.phase not in phases:
            raise LocalProtocolError(
                f"The round is in phase '{self._gathering.phase}', which this step does not follow."
            )
        return self._gathering

    def _need(self, got: int, wanted: int, what: str) -> None:
        if got < wanted:
            number, count = self._newest_round, len(self.participants)
            self._close()
            raise RoundAborted(f"Round {number}: {got} of {count} labels {what}; {wanted} are needed.")

    def _close(self) -> None:
        for label in self.participants:
            self._phases[label] = Phase.IDLE
        self._gathering = None
