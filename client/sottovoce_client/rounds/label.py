"""A label in a run: answers each message according to its own policy, ledger and catalogue.

Every answer follows one order: check, record, act, record, answer. A charge is never returned, and an accepted round is
never accepted again, whatever fails afterwards.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.messages import (
    Announcement,
    CrossCheckRequest,
    Message,
    Nonces,
    Pairing,
    PrepareRequest,
    ReportRequest,
    Roster,
    RunOver,
    Shares,
    UnmaskRequest,
    VersionsRequest,
    decode,
)
from sottovoce.protocol.versions import stated
from sottovoce.protocol.violations import Downgraded, OutOfOrder
from sottovoce.run.records import Carried
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds import join_tags
from sottovoce_client.rounds.opened_home import OpenedHome, TooFewConfirmed

if TYPE_CHECKING:
    from sottovoce_client.rounds.trainer import Trainer

Follow = Roster | Nonces | Pairing | PrepareRequest | CrossCheckRequest | UnmaskRequest


class Label:
    """One label, ready for messages.

    Args:
        home: the label's folder.
        simulation_seed: makes sampling and noise repeatable. For simulations only: anyone who knows the seed can
            subtract the noise. Keys and masks always come from the operating system's randomness.
    """

    def __init__(self, home: LabelHome, *, simulation_seed: int | None = None) -> None:
        self._opened = OpenedHome.of(home)
        self._seed = simulation_seed
        self._loaded_trainer: Trainer | None = None

    @classmethod
    def open(cls, root: Path, *, simulation_seed: int | None = None) -> "Label":
        """Open a label's home.

        Raises:
            ConfigurationError: something in it is missing or damaged.
        """
        return cls(LabelHome.open(root), simulation_seed=simulation_seed)

    @property
    def home(self) -> LabelHome:
        """The label's folder."""
        return self._opened.home

    @property
    def policy(self) -> Policy:
        """The label's policy."""
        return self._opened.policy

    def answer(self, frame: bytes, carried: Carried | None = None) -> bytes:
        """Answer one message of the coordinator, both as bytes.

        Args:
            frame: an encoded message of masked rounds.
            carried: the data sent along with it.

        Raises:
            ProtocolError: the message must not be answered.
            SottovoceError: the label cannot answer now.
        """
        message = decode(frame)
        match message:
            case VersionsRequest():
                return self._stated(message).encode()
            case Announcement():
                return self._trainer().join(message, (carried or Carried()).own).encode()
            case ReportRequest():
                with self._opened.states.joined(message.run):
                    return self._trainer().report(message, carried or Carried()).encode()
            case RunOver():
                self._trainer().end(message, carried or Carried())
                return frame
            case Roster() | Nonces() | Pairing() | PrepareRequest() | CrossCheckRequest() | UnmaskRequest():
                with self._opened.states.joined(message.run):
                    return self._follow(message).encode()
            case _:
                raise OutOfOrder(f"A coordinator never sends a label a {type(message).__name__}.")

    def cosign(self, frame: bytes) -> bytes:
        """Answer a request to co-sign a release, both as bytes.

        Raises:
            ProtocolError: the request must not be granted.
            LedgerError: the label's records cannot be read.
        """
        from sottovoce.release.cosigning import CosignRequest
        from sottovoce_client.rounds.cosign_check import cosignature

        opened = self._opened
        request = CosignRequest.from_bytes(frame)
        return cosignature(request, opened.home, opened.agreement, opened.policy, opened.identity).to_bytes()

    def _stated(self, request: VersionsRequest) -> Message:
        """The versions of the protocol that this label speaks; nothing private bears on them."""
        opened = self._opened
        return stated(
            request,
            opened.identity,
            label=opened.home.name,
            agreement=opened.agreement.digest,
            oldest=opened.policy.oldest_protocol,
        )

    def _trainer(self) -> "Trainer":
        """Answers the messages that need the catalogue.

        Imported here because it loads torch: in a deployment each message has its own process, and most messages are
        only signed or unmasked.
        """
        from sottovoce_client.rounds.trainer import Trainer

        if self._loaded_trainer is None:
            self._loaded_trainer = Trainer(self._opened, simulation_seed=self._seed)
        return self._loaded_trainer

    def _follow(self, request: Follow) -> Message:
        """Set up, prepare, cross-check or unmask; the state is on disk before the answer leaves.

        Raises:
            TooFewConfirmed: the run's members are fixed, and too few of them are confirmed here.
        """
        if isinstance(request, Roster) and not self._opened.knows_enough_of(each.label for each in request.adverts):
            raise TooFewConfirmed("Too few of the other labels that joined this run are confirmed here.")
        state = self._opened.states.load(request.run)
        with self._opened.timed(request.run, getattr(request, "round", 0), "masking"):
            try:
                answer = state.participant.answer(request)
            except Downgraded:
                self.home.diary.round_declined(request.run, 0, RefusalReason.PROTOCOL.value)
                raise
            if isinstance(request, Nonces):
                join_tags.notice(request, self._opened)
            if isinstance(request, CrossCheckRequest | UnmaskRequest):
                state.survived(request)
            self._opened.states.save(request.run, state)
        if isinstance(answer, Shares) and answer.complaints:
            accused = [complaint.label for complaint in answer.complaints]
            self.home.diary.complained(request.run, answer.round, accused)
        if isinstance(request, UnmaskRequest) and request.round > state.config.rounds:
            self._leave(request.run, after=state.config.rounds)
        return answer

    def _leave(self, run: bytes, *, after: int) -> None:
        """End the run here: return what it never charged to the budget, and delete its secret key."""
        with open_ledger(self.home) as ledger:
            ledger.close_run(run)
            self.home.diary.over(run, after=after, ledger=ledger.head)
        self._opened.states.forget(run)
