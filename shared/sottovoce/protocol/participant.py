"""A label's side of one run: it answers each round once, and unmasks one survivor set or none.

Every check comes before anything is trained, charged or revealed. Methods change the state only when they succeed. The
caller saves `to_bytes` before it sends an answer, so that a restart loses nothing.

    participant, advert = Participant.join(announcement, ...)
    participant.reveal(roster) → participant.encapsulate(nonces) → participant.pair(pairing)
    then, for each round: participant.accept(request, ...); .report(vector); .cross_check(...); .unmask(...)
"""

from dataclasses import dataclass, replace
from typing import TypeVar

from sottovoce.errors import LocalProtocolError
from sottovoce.protocol.membership import Membership, check_announcement
from sottovoce.protocol.message import Message
from sottovoce.protocol.messages import (
    CrossCheckRequest,
    CrossCheckSignature,
    Kind,
    Nonces,
    Pairing,
    PrepareRequest,
    Report,
    ReportRequest,
    Roster,
    Shares,
    UnmaskRequest,
)
from sottovoce.protocol.pair_keys import mask_seed
from sottovoce.protocol.prg import add_masks
from sottovoce.protocol.progress import Checked, Idle, Reported, Reporting, Seat
from sottovoce.protocol.ring import RingArray
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.sharing import REPORT, share
from sottovoce.protocol.unmasking import answer
from sottovoce.protocol.versions import check_version
from sottovoce.protocol.violations import (
    Equivocation,
    NotAParticipant,
    OutOfOrder,
    TooFewParticipants,
    UnfollowedParameters,
    UnknownLabel,
)

__all__ = ["AcceptedRound", "Participant", "check_announcement"]

P = TypeVar("P", Reporting, Reported)


@dataclass(frozen=True)
class AcceptedRound:
    """A round that a label has checked, before it trains.

    Args:
        round: the round's number.
        kind: what the round carries.
        participants: all participants, in ascending order.
        elements: length of the vector to report.
    """

    round: int
    kind: Kind
    participants: tuple[str, ...]
    elements: int


class Participant(Membership):
    """One label's role in one run: the set-up of `Membership`, and the rounds."""

    def answer(self, request: Message) -> Message:
        """Answer any message that needs neither training nor the network: all but announcements and report requests.

        Raises:
            OutOfOrder: coordinators do not send such a message to a member.
            RemoteProtocolError: as for the method that handles the message.
        """
        match request:
            case Roster():
                return self.reveal(request)
            case Nonces():
                return self.encapsulate(request)
            case Pairing():
                return self.pair(request)
            case PrepareRequest():
                return self.prepare(request)
            case CrossCheckRequest():
                return self.cross_check(request)
            case UnmaskRequest():
                return self.unmask(request)
        raise OutOfOrder(f"A {type(request).__name__} cannot be answered without training or the network.")

    def check_new(self, request: ReportRequest) -> None:
        """Refuse a round of another run or set-up, or one that is over, before reading the data sent along.

        Raises:
            OutOfOrder, WrongRun, WrongSession, StaleRound, UnplannedRound: as their names say.
        """
        seat = self._expected(request, Seat)
        seat.session.check(request.run, request.session)
        self._check_new(request.round, seat)

    def accept(self, request: ReportRequest, parameters_digest: bytes) -> AcceptedRound:
        """Check a round before anything is trained or charged; afterwards this and all older round numbers are refused.

        Args:
            request: the coordinator's request.
            parameters_digest: digest of the parameters that this label computed (`GlobalModel.digest`).

        Raises:
            OutOfOrder, WrongRun, WrongSession, StaleRound, UnplannedRound, UnfollowedParameters, TooFewParticipants,
            UnknownLabel, NotAParticipant, Equivocation: as their names say.
        """
        self.check_new(request)
        seat = self._expected(request, Seat)
        if request.parameters_digest != parameters_digest:
            raise UnfollowedParameters(
                f"Round {request.round} starts from parameters that do not follow from the run's sums."
            )
        round_ = Round(seat.session, request)
        self._check_participants(round_, seat)
        self._stage = replace(
            seat,
            pairs=seat.pairs.advanced(request.round),
            newest_round=request.round,
            progress=Reporting(round_),
        )
        return AcceptedRound(request.round, request.kind, round_.participants, request.elements)

    def report(self, vector: RingArray) -> Report:
        """Mask a vector in place: afterwards the array holds the masked vector, read-only, and the report refers to it.

        Args:
            vector: `[elements]` of the accepted round, from `VectorLayout.encode`.

        Raises:
            OutOfOrder: no round was accepted, or it was already answered.
            LocalProtocolError: the vector has another type or length.
        """
        seat, progress = self._in_round(Report, Reporting)
        round_, pairs, me = progress.round, seat.pairs, self._advert.label
        request = round_.request
        if vector.dtype != self._ring.dtype or vector.shape != (request.elements,) or not vector.flags.c_contiguous:
            raise LocalProtocolError(
                f"A vector is {vector.dtype}{list(vector.shape)} instead of {self._ring.dtype}[{request.elements}]."
            )
        shared = share(pairs, request.round, REPORT, request.digest)
        seeds = {
            partner: mask_seed(pairs.round_key(partner, request.round), "mask", seat.session, request.digest)
            for partner in round_.partners(me)
        }
        add_masks(
            vector,
            plus=[
                mask_seed(shared.secret, "self-mask", seat.session, request.digest),
                *(seed for partner, seed in seeds.items() if partner > me),
            ],
            minus=[seed for partner, seed in seeds.items() if partner < me],
        )
        vector.flags.writeable = False
        following = self._prepared(pairs, request.round + 1)
        report = Report.sign(
            self._identity,
            version=self.version,
            run=request.run,
            round=request.round,
            request=request.digest,
            label=me,
            ring_bits=self._ring.bits,
            vector=self._ring.pack(vector),
            commitment=shared.commitment,
            boxes=shared.boxes,
            following=following,
        )
        self._stage = replace(
            seat,
            prepared_round=following.round,
            prepared=following.digest,
            progress=Reported(round_, shared.own),
        )
        return report

    def cross_check(self, request: CrossCheckRequest) -> CrossCheckSignature:
        """Sign the coordinator's survivor set; no other set will be unmasked.

        Raises:
            OutOfOrder, WrongRun, WrongRound, WrongSurvivors, TooFewSurvivors: as their names say.
        """
        seat, progress = self._in_round(CrossCheckRequest, Reported)
        check_version(request, self.version)
        if not self._agreement.cross_check:
            raise OutOfOrder("A survivor set was sent for signing, but this agreement has no cross-check.")
        round_, me = progress.round, self._advert.label
        round_.check_answers(request.run, request.round)
        round_.check_survivors(request.survivors, including=me, least=self._least)
        signature = self._identity.sign(purpose="cross-check", message=round_.survivors_digest(request.survivors))
        self._stage = replace(seat, progress=Checked(round_, progress.own, request.survivors))
        return CrossCheckSignature(request.run, request.round, me, signature, version=self.version)

    def unmask(self, request: UnmaskRequest) -> Shares:
        """Release the shares that reveal the sum over one survivor set; then delete them.

        If a box does not open, the answer contains a complaint instead of its share.

        Raises:
            OutOfOrder, WrongRun, WrongRound, WrongSurvivors, TooFewSurvivors, Equivocation, NotAParticipant,
            BadSignature, TooFewSignatures, WrongBoxes: as their names say.
        """
        seat = self._expected(request, Seat)
        progress = seat.progress
        if not isinstance(progress, (Reported, Checked)):
            raise OutOfOrder("No round is waiting to be unmasked.")
        round_, me = progress.round, self._advert.label
        round_.check_answers(request.run, request.round)
        if isinstance(progress, Checked) and request.survivors != progress.survivors:
            raise Equivocation(f"Round {request.round}: the survivor set to unmask differs from the signed one.")
        values, complaints = answer(
            request,
            round_,
            own=progress.own,
            pairs=seat.pairs,
            identities=self._identities if self._agreement.cross_check else None,
            least=self._least,
        )
        shares = Shares.sign(
            self._identity,
            version=self.version,
            run=request.run,
            round=request.round,
            survivors_digest=round_.survivors_digest(request.survivors),
            label=me,
            values=values,
            complaints=complaints,
        )
        self._stage = replace(seat, progress=Idle())
        return shares

    def _in_round(self, message: type[Message], kind: type[P]) -> tuple[Seat, P]:
        """The seat and the progress of the present round, for a message that requires this progress.

        Raises:
            OutOfOrder: no round waits for this message.
        """
        seat = self._staged(message, Seat)
        if not isinstance(seat.progress, kind):
            raise OutOfOrder(f"No round waits for a {message.__name__}.")
        return seat, seat.progress

    def _check_participants(self, round_: Round, seat: Seat) -> None:
        request, me = round_.request, self._advert.label
        if not set(round_.participants) <= set(seat.session.members):
            raise UnknownLabel(f"Round {request.round} names a label that is not a member of the run.")
        own = [item.preparation for item in request.participants if item.label == me]
        if not own:
            raise NotAParticipant(f"Round {request.round} does not name '{me}', its recipient.")
        if request.round != seat.prepared_round or own != [seat.prepared]:
            raise Equivocation(f"Round {request.round} names another preparation of '{me}' than its latest.")
        needed = max(seat.session.least_survivors, self._least)
        if len(round_.participants) < needed:
            raise TooFewParticipants(
                f"Round {request.round} has {len(round_.participants)} participants; a sum needs {needed} survivors."
            )
