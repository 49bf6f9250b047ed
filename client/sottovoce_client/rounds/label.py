"""A label at work: it answers each message of a run by its own policy, ledger and catalogue.

Every answer follows one order: check, write down, act, write down, answer. What is charged stays charged, and a round
that was accepted is never accepted again, whatever fails afterwards.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import BudgetExceeded, CatalogueError, ConfigurationError, LocalProtocolError, PrivacyError
from sottovoce.federation.refusals import RefusalReason
from sottovoce.privacy.events import Event, NonPrivate
from sottovoce.protocol.messages import (
    Announcement,
    CrossCheckRequest,
    Kind,
    Message,
    Refusal,
    ReportRequest,
    UnmaskRequest,
    decode,
)
from sottovoce.protocol.participant import Participant, check_announcement
from sottovoce.protocol.topology import threshold
from sottovoce.protocol.violations import OutOfOrder, TooFewParticipants, UnplannedRound
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Balance, TrainingConfig
from sottovoce.run.records import parameters_digest, split_clip
from sottovoce_client.budget.ledger import Ledger
from sottovoce_client.home.label_home import LabelHome
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds.run_state import RunState, RunStates

if TYPE_CHECKING:
    from sottovoce_client.data.preparation import Prepared

# `sottovoce_client.rounds.local_round` is imported where it is used: it loads torch, and in a deployment each message
# has a process of its own, most of which only sign and unmask.


class OutsideHours(LocalProtocolError):
    """The label's policy lets no training run at this hour."""


class Label:
    """One label, open for messages.

    Args:
        home: the label's folder.
        simulation_seed: makes sampling and noise repeatable. For simulations only: whoever knows the seed can subtract
            the noise. Keys and masks come from the operating system's entropy all the same.
    """

    def __init__(self, home: LabelHome, *, simulation_seed: int | None = None) -> None:
        self.home = home
        self.identity = home.identity()
        self.agreement = home.agreement()
        self.policy = Policy.from_toml(home.policy_file)
        self._states = RunStates(home.runs, self.identity, self.agreement)
        self._seed = simulation_seed
        self._prepared: dict[bytes, Prepared] = {}

    @classmethod
    def open(cls, root: Path, *, simulation_seed: int | None = None) -> "Label":
        """Open a label's home.

        Raises:
            ConfigurationError: something in it is missing or damaged.
        """
        return cls(LabelHome.open(root), simulation_seed=simulation_seed)

    def answer(self, frame: bytes, parameters: NDArray[np.float32] | None) -> bytes:
        """The answer to one message of the coordinator, both as bytes.

        Args:
            frame: an encoded message of masked rounds.
            parameters: the global parameters that came along, float32 `[P]`.

        Raises:
            ProtocolError: the message must not be answered.
            SottovoceError: the label cannot answer now.
        """
        message = decode(frame)
        match message:
            case Announcement():
                return self._join(message).encode()
            case ReportRequest():
                with self._states.joined(message.run):
                    return self._report(message, parameters).encode()
            case CrossCheckRequest() | UnmaskRequest():
                with self._states.joined(message.run):
                    return self._follow(message).encode()
            case _:
                raise OutOfOrder(f"A {type(message).__name__} is nothing that a coordinator says to a label.")

    def cosign(self, frame: bytes) -> bytes:
        """The answer to a request to co-sign a release, both as bytes.

        Raises:
            ProtocolError: the request must not be granted.
            LedgerError: the label's books cannot be read.
        """
        from sottovoce.release.cosigning import CosignRequest
        from sottovoce_client.rounds.cosign_check import cosignature

        request = CosignRequest.from_bytes(frame)
        return cosignature(request, self.home, self.agreement, self.policy, self.identity).to_bytes()

    def _join(self, announcement: Announcement) -> Message:
        """Decide whether to take part, and promise the whole run's privacy to the ledger before saying so."""
        from sottovoce_client.rounds import local_round

        check_announcement(announcement, label=self.home.name, identity=self.identity, agreement=self.agreement)
        config = announcement.config
        reason = local_round.objection(config, self.agreement, self.policy)
        if reason is not None:
            return self._refusal(announcement, reason)
        with self._states.locked(announcement.run):
            if self._states.exists(announcement.run):
                raise OutOfOrder("This run was announced before.")
            try:
                prepared = self._data(config)
                plan = local_round.plan_of(config, prepared, self.agreement, self.policy)
            except (CatalogueError, ConfigurationError):
                return self._refusal(announcement, RefusalReason.CATALOGUE)
            except PrivacyError:
                return self._refusal(announcement, RefusalReason.PRIVACY)
            with Ledger(self.home.ledger_file) as ledger:
                try:
                    ledger.open_run(announcement.run, plan, self.policy.ceilings)
                except BudgetExceeded:
                    return self._refusal(announcement, RefusalReason.BUDGET)
            participant, advert = Participant.join(
                announcement,
                label=self.home.name,
                identity=self.identity,
                agreement=self.agreement,
                epsilon=float("inf") if plan is None else plan.epsilon_ceiling,
                delta=0.0 if plan is None else plan.delta,
            )
            self.home.diary.joined(
                announcement.run,
                config,
                federation=self.agreement.federation,
                epsilon=advert.epsilon,
                delta=advert.delta,
            )
            self._states.save(announcement.run, RunState(participant, plan))
        return advert

    def _refusal(self, announcement: Announcement, reason: RefusalReason) -> Refusal:
        """A signed word of a closed list; the label's own people find it, and what it was about, in the diary."""
        self.home.diary.refused(announcement.run, announcement.config, reason.value)
        return Refusal.sign(
            self.identity,
            run=announcement.run,
            agreement=self.agreement.digest,
            label=self.home.name,
            reason=reason,
        )

    def _report(self, request: ReportRequest, parameters: NDArray[np.float32] | None) -> Message:
        """Check the round, charge it, measure, train, mask."""
        from sottovoce_client.rounds import local_round

        state = self._states.load(request.run)
        config = state.config
        self._expect_planned(request, config)
        self._expect_allowed(request)
        if parameters is None:
            raise LocalProtocolError("A round's global parameters did not come along.")
        layout = local_round.layout_of(request, config, parameters.size)
        if config.shared and threshold(len(request.adverts)) < config.shared.honest:
            raise TooFewParticipants("A sum of this round's survivors could carry less noise than was agreed on.")
        model, clip = split_clip(parameters, config)
        state.participant.accept(request, parameters_digest(parameters))
        self._states.save(request.run, state)
        prepared = self._data(config)
        update: NDArray[np.float32] | NDArray[np.int64] | None = None
        if request.kind is Kind.TRAIN:
            randomness = self._randomness(request.round)
            self._charge(request, state, prepared, randomness)
            self._states.save(request.run, state)
            with self._timed(request, "training"):
                update = local_round.update_of(state, request, model, clip, prepared, randomness)
        with self._timed(request, "evaluation"):
            counters = local_round.counters_of(config, model, prepared)
        with self._timed(request, "masking"):
            report = state.participant.report(layout.encode(update, counters))
            self._states.save(request.run, state)
        return report

    def _expect_allowed(self, request: ReportRequest) -> None:
        """What the policy, as it is now, says of a round of a run that was joined under it as it was then.

        Raises:
            TooFewParticipants, OutsideHours: as their names say.
        """
        if len(request.adverts) < self.policy.least_participants:
            self.home.diary.round_declined(request.run, request.round, RefusalReason.PARTICIPANTS.value)
            raise TooFewParticipants("This label's policy wants more participants in a round.")
        if not self.policy.awake():
            self.home.diary.round_declined(request.run, request.round, RefusalReason.HOURS.value)
            raise OutsideHours("This label's policy lets no training run at this hour.")

    def _expect_planned(self, request: ReportRequest, config: TrainingConfig) -> None:
        """Training rounds up to the planned number, then one evaluation of what they made.

        The ledger bounds training by itself. An evaluation costs no ε, so that without these bounds a coordinator could
        ask for the counts of as many models of its own making as it likes.

        Raises:
            UnplannedRound: the run has no such round.
        """
        if request.kind is Kind.TRAIN:
            planned = request.round <= config.rounds
        else:
            with Ledger(self.home.ledger_file) as ledger:
                planned = request.round == config.rounds + 1 and bool(ledger.spent_in(request.run))
        if not planned:
            raise UnplannedRound(f"The run plans {config.rounds} rounds, then one evaluation; this is none of them.")

    def _charge(self, request: ReportRequest, state: RunState, prepared: "Prepared", randomness: Randomness) -> None:
        """Write this round's privacy loss into the ledger; draw the class histogram with the run's first round."""
        config, plan = state.config, state.plan
        balanced = config.balance is not Balance.NONE
        first = balanced and state.histogram is None
        with Ledger(self.home.ledger_file) as ledger:
            events: tuple[Event, ...] = (NonPrivate(),)
            if plan is not None and config.steps == 1:  # where units take turns, the first round is charged for all
                events = () if ledger.spent_in(request.run) else plan.events()
            elif plan is not None:
                events = plan.events(config.steps_per_round, histogram=first)
            ledger.charge(request.run, request.round, events)
        if first:
            from sottovoce_client.rounds import local_round

            state.histogram = local_round.histogram_of(prepared.train, len(config.classes), plan, randomness)

    def _follow(self, request: CrossCheckRequest | UnmaskRequest) -> Message:
        """Cross-check or unmask: the answer is on disk before it leaves."""
        state = self._states.load(request.run)
        with self._timed(request, "masking"):
            answer: Message = (
                state.participant.cross_check(request)
                if isinstance(request, CrossCheckRequest)
                else state.participant.unmask(request)
            )
            self._states.save(request.run, state)
        if isinstance(request, UnmaskRequest) and request.round > state.config.rounds:
            self._leave(request.run)
        return answer

    def _leave(self, run: bytes) -> None:
        """The run is over here: give back what it never charged, and forget its secret key."""
        with Ledger(self.home.ledger_file) as ledger:
            ledger.close_run(run)
        self._states.forget(run)

    def _data(self, config: TrainingConfig) -> "Prepared":
        """This run's data, kept for the next message of the same process."""
        from sottovoce_client.rounds import local_round

        if config.digest not in self._prepared:
            self._prepared = {config.digest: local_round.data_of(self.home, config)}
        return self._prepared[config.digest]

    def _randomness(self, round_number: int) -> Randomness:
        if self._seed is None:
            return Randomness.system()
        drawn = hashlib.sha256(f"{self._seed}/{self.home.name}/{round_number}".encode()).digest()
        return Randomness.for_simulation(int.from_bytes(drawn[:8]))

    @contextmanager
    def _timed(self, request: ReportRequest | CrossCheckRequest | UnmaskRequest, stage: str) -> Iterator[None]:
        """Note the seconds a stage took, at home: timings are not sent."""
        started = time.perf_counter()
        yield
        line = {"run": request.run.hex(), "round": request.round, "stage": stage}
        with self.home.timings_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, "seconds": time.perf_counter() - started}) + "\n")
