"""The coordinator's side of one run: it adds masked reports as they come, and opens their sum or nothing.

It keeps one vector, whatever the number of labels, and the sealed bundles of those who reported. `receive` refuses a
message without changing anything: a label whose report is refused has simply not reported.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sottovoce.errors import LocalProtocolError, RoundAborted
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.adverts import check_advert, check_origin, roster_of
from sottovoce.protocol.keys import RunKey
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    CrossCheckRequest,
    CrossCheckSignature,
    Kind,
    Message,
    Refusal,
    Report,
    ReportRequest,
    Sealed,
    Shares,
    Signature,
    UnmaskRequest,
)
from sottovoce.protocol.prg import SEED_BYTES, add_masks
from sottovoce.protocol.ring import Ring, RingArray
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.seal import OVERHEAD
from sottovoce.protocol.signatures import is_signature
from sottovoce.protocol.states import Phase, after
from sottovoce.protocol.topology import COMMITTEE
from sottovoce.protocol.unmasking import masks_left
from sottovoce.protocol.violations import (
    BadSignature,
    DuplicateParticipant,
    Malformed,
    NotAParticipant,
    WrongAgreement,
    WrongBundles,
    WrongRound,
    WrongShares,
    WrongVector,
)
from sottovoce.run.configuration import RunConfiguration


@dataclass(frozen=True)
class Sum:
    """What a round ends in.

    Args:
        round: its number.
        kind: what it carries.
        vector: `[elements]`, the exact sum of the survivors' vectors in the ring.
        survivors: whose vectors are in it, in ascending order.
    """

    round: int
    kind: Kind
    vector: RingArray = field(repr=False)
    survivors: tuple[str, ...]


@dataclass
class _Gathering:
    """What a round has gathered so far; `phase` is what the coordinator waits in, and `close_…` ends."""

    round: Round
    phase: Phase
    total: RingArray
    bundles: dict[str, tuple[Sealed, ...]]
    survivors: tuple[str, ...]
    signatures: dict[str, bytes]
    shares: dict[str, bytes]


class Aggregator:
    """One coordinator in one run.

    Args:
        agreement: of the federation.
        announcement: of the run.

    Raises:
        WrongAgreement: the announcement is of another agreement.
        Malformed: its configuration is not what its digest names.
    """

    def __init__(self, agreement: Agreement, announcement: Announcement) -> None:
        if announcement.agreement != agreement.digest:
            raise WrongAgreement("The announcement is under another agreement.")
        self._agreement = agreement
        self._announcement = announcement
        self._config = announcement.config
        self._ring = Ring(self._config.ring_bits)
        self._roster = roster_of(agreement)
        self._probe = RunKey.generate()
        self._phases: dict[str, Phase] = dict.fromkeys(self._roster, Phase.INVITED)
        self._adverts: dict[str, Advert] = {}
        self._refusals: dict[str, RefusalReason] = {}
        self._newest_round = 0
        self._gathering: _Gathering | None = None

    @property
    def agreement(self) -> Agreement:
        """The agreement of the federation."""
        return self._agreement

    @property
    def announcement(self) -> Announcement:
        """The run, as it is announced to every label."""
        return self._announcement

    @property
    def config(self) -> RunConfiguration:
        """The run's configuration."""
        return self._config

    @property
    def adverts(self) -> Mapping[str, Advert]:
        """Who has joined: what a restarted coordinator gives to `receive` again."""
        return dict(self._adverts)

    @property
    def refusals(self) -> Mapping[str, RefusalReason]:
        """Who takes no part, and why."""
        return dict(self._refusals)

    @property
    def participants(self) -> tuple[str, ...]:
        """Labels of the round under way, in ascending order; none between rounds."""
        return self._gathering.round.participants if self._gathering else ()

    def start_round(
        self, number: int, kind: Kind, participants: Iterable[str], parameters_digest: bytes, elements: int
    ) -> ReportRequest:
        """Open a round, giving up the one under way, if any.

        Args:
            number: newer than any before.
            kind: what it carries.
            participants: labels that have joined.
            parameters_digest: SHA-256 of the global parameters that are sent along.
            elements: length of the vector, `VectorLayout.elements`.

        Returns:
            What every participant is sent, the same bytes to each.

        Raises:
            LocalProtocolError: the number is not new, a label has not joined, or they are too few or too many.
        """
        labels = sorted(set(participants))
        if number <= self._newest_round:
            raise LocalProtocolError(f"Round {number} does not come after round {self._newest_round}.")
        absent = [label for label in labels if label not in self._adverts]
        if absent:
            raise LocalProtocolError(f"'{absent[0]}' has not joined the run.")
        if len(labels) < self._agreement.n_min:
            raise LocalProtocolError(
                f"Round {number} would have {len(labels)} participants; the agreement wants {self._agreement.n_min}."
            )
        if len(labels) > COMMITTEE and not self._agreement.cross_check:
            raise LocalProtocolError(f"Above {COMMITTEE} participants the agreement must have cross_check = true.")
        request = ReportRequest(
            run=self._announcement.run,
            round=number,
            kind=kind,
            parameters_digest=parameters_digest,
            elements=elements,
            adverts=tuple(self._adverts[label] for label in labels),
        )
        for label in labels:
            self._phases[label] = after(self._phases[label], ReportRequest)
        self._newest_round = number
        self._gathering = _Gathering(Round(request), Phase.REPORTING, self._ring.zeros(elements), {}, (), {}, {})
        return request

    def receive(self, message: Message) -> None:
        """Take a label's message in. A refused one changes nothing.

        Raises:
            RemoteProtocolError: the subclass says what is wrong with it.
        """
        match message:
            case Advert():
                self._receive_advert(message)
            case Refusal():
                self._receive_refusal(message)
            case Report():
                self._receive_report(message)
            case CrossCheckSignature():
                self._receive_signature(message)
            case Shares():
                self._receive_shares(message)
            case _:
                raise Malformed(f"A {type(message).__name__} is nothing that a label sends.")

    def close_reports(self) -> dict[str, CrossCheckRequest | UnmaskRequest]:
        """Who has not reported by now has dropped out of the round; what each survivor is asked next.

        Raises:
            RoundAborted: too few are left. Nothing was revealed.
            LocalProtocolError: the round is not at this step.
        """
        gathering = self._under_way(Phase.REPORTING)
        survivors = self._in_phase(Phase.REPORTED)
        self._need(len(survivors), gathering.round.topology.threshold, "reported")
        holders = [label for label in survivors if label in gathering.round.topology.holders]
        self._need(len(holders), gathering.round.topology.share_threshold, "hold shares and reported")
        self._release(Phase.REPORTING)
        gathering.survivors = survivors
        if not self._agreement.cross_check:
            return dict(self._unmask_requests(gathering, holders))
        request = gathering.round.request
        gathering.phase = Phase.CHECKING
        for label in survivors:
            self._move(label, CrossCheckRequest)
        return dict.fromkeys(survivors, CrossCheckRequest(request.run, request.round, survivors))

    def close_cross_check(self) -> dict[str, UnmaskRequest]:
        """What each share holder that signed is asked next.

        Raises:
            RoundAborted: too few have signed. Nothing was revealed.
            LocalProtocolError: the round is not at this step.
        """
        gathering = self._under_way(Phase.CHECKING)
        signers = self._in_phase(Phase.CHECKED)
        self._need(len(signers), gathering.round.topology.threshold, "signed the survivor set")
        holders = [label for label in signers if label in gathering.round.topology.holders]
        self._need(len(holders), gathering.round.topology.share_threshold, "hold shares and signed")
        requests = self._unmask_requests(gathering, holders)
        self._release(Phase.CHECKING)
        self._release(Phase.CHECKED)
        return requests

    def finish(self) -> Sum:
        """Remove the masks.

        Raises:
            RoundAborted: too few shares came, so that nothing was revealed; or they do not lie on one polynomial
                (caused by `WrongShares`), so that a holder or a label gave wrong ones.
        """
        gathering = self._under_way(Phase.UNMASKING)
        self._need(len(gathering.shares), gathering.round.topology.share_threshold, "gave their shares")
        self._close()
        request = gathering.round.request
        try:
            added, subtracted = masks_left(gathering.round, gathering.survivors, gathering.shares)
        except WrongShares as error:
            raise RoundAborted(f"Round {request.round}: {error}") from error
        add_masks(gathering.total, plus=subtracted, minus=added)
        self._ring.reduce(gathering.total)
        return Sum(request.round, request.kind, gathering.total, gathering.survivors)

    def _receive_advert(self, advert: Advert) -> None:
        check_advert(
            advert,
            run=self._announcement.run,
            agreement=self._announcement.agreement,
            config_digest=self._announcement.config_digest,
            roster=self._roster,
        )
        after(self._phases[advert.label], Advert)
        if any(advert.public_key == other.public_key for other in self._adverts.values()):
            raise DuplicateParticipant(f"'{advert.label}' shows a key that was shown before.")
        self._probe.agree(advert.public_key)
        self._move(advert.label, Advert)
        self._adverts[advert.label] = advert

    def _receive_refusal(self, refusal: Refusal) -> None:
        run, agreement = self._announcement.run, self._announcement.agreement
        check_origin(refusal, run=run, agreement=agreement, roster=self._roster)
        self._move(refusal.label, Refusal)
        self._refusals[refusal.label] = refusal.reason

    def _receive_report(self, report: Report) -> None:
        gathering = self._answered(report, report.label, report.run, report.round)
        round_ = gathering.round
        if report.request != round_.request.digest:
            raise WrongRound(f"The report of '{report.label}' answers another request for round {report.round}.")
        expected = round_.request.elements * self._ring.element_bytes
        if report.ring_bits != self._ring.bits or len(report.vector) != expected:
            raise WrongVector(f"The report of '{report.label}' is in another ring, or of another length.")
        holders = tuple(label for label in round_.topology.holders if label != report.label)
        size = round_.bundle_bytes(report.label) + OVERHEAD
        if tuple(sealed.label for sealed in report.bundles) != holders or any(
            len(sealed.box) != size for sealed in report.bundles
        ):
            raise WrongBundles(f"The report of '{report.label}' does not bring one whole bundle to each share holder.")
        self._check_signed(report)
        self._move(report.label, Report)
        self._ring.add_packed(gathering.total, report.vector)
        gathering.bundles[report.label] = report.bundles

    def _receive_signature(self, message: CrossCheckSignature) -> None:
        gathering = self._answered(message, message.label, message.run, message.round)
        digest = gathering.round.survivors_digest(gathering.survivors)
        if not is_signature(self._roster[message.label], message.signature, "cross-check", digest):
            raise BadSignature(f"'{message.label}' has not signed the survivor set of round {message.round}.")
        self._move(message.label, CrossCheckSignature)
        gathering.signatures[message.label] = message.signature

    def _receive_shares(self, shares: Shares) -> None:
        gathering = self._answered(shares, shares.label, shares.run, shares.round)
        if shares.survivors_digest != gathering.round.survivors_digest(gathering.survivors):
            raise WrongRound(f"The shares of '{shares.label}' are for another survivor set.")
        asked = sum(1 for _ in gathering.round.unmasked(gathering.survivors))
        if len(shares.values) != asked * SEED_BYTES:
            raise WrongShares(f"'{shares.label}' gave another number of shares than was asked for.")
        self._check_signed(shares)
        self._move(shares.label, Shares)
        gathering.shares[shares.label] = shares.values

    def _answered(self, message: Message, label: str, run: bytes, number: int) -> _Gathering:
        """The round that a message answers, with who and when checked."""
        if label not in self._phases:
            raise NotAParticipant(f"'{label}' takes no part in the run.")
        after(self._phases[label], type(message))
        gathering = self._under_way(*Phase)
        gathering.round.check_answers(run, number)
        return gathering

    def _check_signed(self, message: Report | Shares) -> None:
        if not message.is_signed_by(self._roster[message.label]):
            raise BadSignature(
                f"The {type(message).__name__.lower()} of '{message.label}' is not signed by that label."
            )

    def _move(self, label: str, message: type[Message]) -> None:
        self._phases[label] = after(self._phases[label], message)

    def _unmask_requests(self, gathering: _Gathering, holders: Iterable[str]) -> dict[str, UnmaskRequest]:
        gathering.phase = Phase.UNMASKING
        request = gathering.round.request
        signatures = tuple(Signature(label, gathering.signatures[label]) for label in sorted(gathering.signatures))
        sealed: dict[str, list[Sealed]] = {label: [] for label in gathering.round.topology.holders}
        for sender in gathering.survivors:
            for bundle in gathering.bundles[sender]:
                sealed[bundle.label].append(Sealed(sender, bundle.box))
        requests = {}
        for label in holders:
            self._move(label, UnmaskRequest)
            requests[label] = UnmaskRequest(
                request.run, request.round, gathering.survivors, signatures, tuple(sealed[label])
            )
        return requests

    def _in_phase(self, phase: Phase) -> tuple[str, ...]:
        return tuple(label for label in self.participants if self._phases[label] is phase)

    def _release(self, phase: Phase) -> None:
        """Whoever is still in this phase is out of the round."""
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
