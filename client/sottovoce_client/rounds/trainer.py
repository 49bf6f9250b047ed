"""Answers to the messages that need a label's catalogue or model: announcements, requests for reports, ends of runs.

It loads torch; `sottovoce_client.rounds.label` imports it only for these messages.
"""

import hashlib
import time
from logging import getLogger

import numpy as np
from numpy.typing import NDArray

from sottovoce.errors import (
    BudgetExceeded,
    CatalogueError,
    ConfigurationError,
    LedgerError,
    LocalProtocolError,
    PrivacyError,
    SottovoceError,
)
from sottovoce.federation.refusals import RefusalReason
from sottovoce.privacy.events import Event, NonPrivate
from sottovoce.protocol.messages import Advert, Announcement, Kind, Message, Refusal, ReportRequest, RunOver
from sottovoce.protocol.participant import Participant, check_announcement
from sottovoce.protocol.violations import TooFewParticipants, UnfollowedParameters, UnplannedRound
from sottovoce.randomness import Randomness
from sottovoce.run.configuration import Balance, RunConfiguration
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import Carried, OwnWords
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.budget.rows import Head
from sottovoce_client.data.preparation import Prepared, prepare
from sottovoce_client.home.policy import Policy
from sottovoce_client.rounds import local_round
from sottovoce_client.rounds.following import follow
from sottovoce_client.rounds.join_tags import join_tag
from sottovoce_client.rounds.opened_home import OpenedHome, TooFewConfirmed
from sottovoce_client.rounds.own_words import expect_remembered
from sottovoce_client.rounds.promises import release_stale
from sottovoce_client.rounds.run_end import end_run
from sottovoce_client.rounds.run_state import RunState

LOG = getLogger(__name__)
RESCAN = "Check it with: sottovoce label catalogue"


class OutsideHours(LocalProtocolError):
    """The label's policy allows no training at this hour."""


class NotAllowedAnyMore(LocalProtocolError):
    """The label's policy became stricter after it joined the run, and no longer allows it."""


class Trainer:
    """Joins runs and reports in their rounds.

    Args:
        opened: the label's home.
        simulation_seed: as for `Label`.
    """

    def __init__(self, opened: OpenedHome, *, simulation_seed: int | None = None) -> None:
        self._home = opened.home
        self._opened = opened
        self._seed = simulation_seed
        self._prepared: dict[bytes, Prepared] = {}

    def join(self, announcement: Announcement, own: OwnWords | None = None) -> Message:
        """Decide whether to take part, and reserve the whole run's privacy in the ledger before answering.

        Args:
            announcement: the run's announcement.
            own: what this label said in its latest earlier run, according to the coordinator.
        """
        opened, config = self._opened, announcement.config
        check_announcement(announcement, label=self._home.name, identity=opened.identity, agreement=opened.agreement)
        reason = local_round.objection(config, opened.agreement, opened.policy)
        if announcement.version < opened.policy.oldest_protocol:
            error = _too_old(announcement.version, opened.policy)
            return self._refusal(announcement, RefusalReason.CONFIGURATION, error)
        if reason is None and not opened.knows_enough_of(member.name for member in opened.agreement.members):
            reason = RefusalReason.UNCONFIRMED
        if reason is not None:
            return self._refusal(announcement, reason)
        with opened.states.locked(announcement.run):
            if opened.states.exists(announcement.run):
                return self._join_again(announcement)
            try:
                expect_remembered(own, self._home, opened.identity.public_key)
            except LedgerError as error:
                return self._refusal(announcement, RefusalReason.UNAVAILABLE, error)
            try:
                plan = local_round.plan_of(config, opened.agreement, opened.policy)
                prepared = self._data(
                    config
                )  # compute features before the first round; their number does not affect the answer
            except (CatalogueError, ConfigurationError) as error:
                return self._refusal(announcement, RefusalReason.CATALOGUE, error)
            except PrivacyError as error:
                return self._refusal(announcement, RefusalReason.PRIVACY, error)
            release_stale(self._home, now=time.time())  # but not this run, whose lock is held
            with open_ledger(self._home) as ledger:
                try:
                    ledger.open_run(announcement.run, plan, opened.policy.ceilings)
                except BudgetExceeded as error:
                    return self._refusal(announcement, RefusalReason.BUDGET, error)
                head, tag = ledger.head, join_tag(opened.identity, ledger, announcement.run)
            participant, advert = Participant.join(
                announcement,
                label=self._home.name,
                identity=opened.identity,
                agreement=opened.agreement,
                epsilon=float("inf") if plan is None else plan.epsilon_ceiling,
                delta=0.0 if plan is None else plan.delta,
                least_survivors=opened.policy.least_participants,
                met=0 if opened.policy.oldest_protocol else self._home.diary.newest_protocol(),
                join_tag=tag,
            )
            self._note_joined(announcement, advert, head)
            opened.states.save(announcement.run, RunState(participant, plan, ledger=head))
            self._tell_if_empty(announcement.run, 0, prepared)
        return advert

    def _note_joined(self, announcement: Announcement, advert: Advert, head: Head | None) -> None:
        self._home.diary.joined(
            announcement.run,
            announcement.config,
            protocol=advert.version,
            federation=self._opened.agreement.federation,
            epsilon=advert.epsilon,
            delta=advert.delta,
            ledger=head,
        )

    def _join_again(self, announcement: Announcement) -> Message:
        """Restart a set-up that others did not complete; the run's privacy is already reserved."""
        states = self._opened.states
        state = states.load(announcement.run)
        former = state.participant.version
        with open_ledger(self._home) as ledger:
            tag = join_tag(self._opened.identity, ledger, announcement.run)
        advert = state.participant.join_again(announcement, tag)
        if advert.version != former:
            self._note_joined(announcement, advert, state.ledger)
        states.save(announcement.run, state)
        return advert

    def report(self, request: ReportRequest, carried: Carried) -> Message:
        """Check the round, compute its model, charge it, train, evaluate and mask."""
        states = self._opened.states
        state = states.load(request.run)
        config = state.config
        self._expect_planned(request, config)
        self._expect_allowed(request, state)
        layout = local_round.layout_of(request, config)
        model = self._followed(request, carried, state)
        states.save_model(request.run, model.to_bytes())
        if request.kind is Kind.EVALUATE:
            self._home.diary.followed(request.run, weights=local_round.weights_digest(model.parameters, config))
        if request.left_out:
            self._home.diary.left_out(request.run, request.round, request.left_out)
        states.save(request.run, state)
        prepared = self._data(config)
        self._tell_if_empty(request.run, request.round, prepared)
        update: NDArray[np.float32] | NDArray[np.int64] | None = None
        randomness = self._randomness(request.round)
        if request.kind is Kind.EVALUATE:
            self._charge_evaluation(request, state)
        if request.kind is Kind.TRAIN:
            self._charge(request, state, prepared, randomness)
            states.save(request.run, state)
            with self._opened.timed(request.run, request.round, "training"):
                inputs = local_round.inputs_of(state, request, model, prepared, randomness)
                update = local_round.update_of(state, request.run, inputs)
        with self._opened.timed(request.run, request.round, "evaluation"):
            counters = local_round.counters_of(state, request.round - 1, model.parameters, prepared, randomness)
        with self._opened.timed(request.run, request.round, "masking"):
            report = state.participant.report(layout.encode(update, counters))
            states.save(request.run, state)
        return report

    def end(self, over: RunOver, carried: Carried) -> None:
        """Follow a run to its end and leave it, as `run_end.end_run` says."""
        end_run(over, carried, self._opened)

    def _followed(self, request: ReportRequest, carried: Carried, state: RunState) -> GlobalModel:
        """The model that a round starts from, computed by this label; then accept the round.

        Raises:
            UnfollowedParameters: the request names another model, or its data leads to none.
            RemoteProtocolError: as for `follow` and `Participant.accept`.
        """
        participant = state.participant
        saved = self._opened.states.model(request.run)
        try:
            participant.check_new(request)
            model = follow(
                saved,
                carried,
                number=request.round,
                config=state.config,
                session=participant.session,
                labels=len(self._opened.agreement.members),
                witnessed=state.witnessed,
            )
            participant.accept(request, model.digest)
        except UnfollowedParameters:
            self._home.diary.round_declined(request.run, request.round, RefusalReason.UNFOLLOWED.value)
            raise
        state.asked(request)
        return model

    def _tell_if_empty(self, run: bytes, number: int, prepared: Prepared) -> None:
        """Tell only this label's people that it has nothing to train on: a refusal would tell the others.

        Whether any track fits the run would be a threshold on an exact count (decision 0064).
        """
        if not len(prepared.train):
            LOG.warning("Nothing in this label's catalogue fits the run: it takes part with noise alone. %s", RESCAN)
            self._home.diary.no_tracks(run, number)

    def _refusal(
        self, announcement: Announcement, reason: RefusalReason, error: SottovoceError | None = None
    ) -> Refusal:
        """A signed refusal with a reason from a closed list; the diary has more details for the label's people."""
        why, hint = (error.message, error.hint or "") if error else ("", "")
        self._home.diary.refused(announcement.run, announcement.config, reason.value, why=why, hint=hint)
        return Refusal.sign(
            self._opened.identity,
            run=announcement.run,
            agreement=self._opened.agreement.digest,
            label=self._home.name,
            reason=reason,
            version=announcement.version,
        )

    def _expect_allowed(self, request: ReportRequest, state: RunState) -> None:
        """Check a round against the present policy, which may be stricter than when the label joined.

        Raises:
            TooFewParticipants, TooFewConfirmed, OutsideHours, NotAllowedAnyMore: as their names say.
        """
        policy, plan = self._opened.policy, state.plan
        if len(request.participants) < policy.least_participants:
            self._home.diary.round_declined(request.run, request.round, RefusalReason.PARTICIPANTS.value)
            raise TooFewParticipants("This label's policy requires more participants in a round.")
        if not self._opened.knows_enough_of(participant.label for participant in request.participants):
            self._home.diary.round_declined(request.run, request.round, RefusalReason.UNCONFIRMED.value)
            raise TooFewConfirmed("Too few of this round's other labels are confirmed here.")
        if not policy.awake():
            self._home.diary.round_declined(request.run, request.round, RefusalReason.HOURS.value)
            raise OutsideHours("This label's policy allows no training at this hour.")
        reason = local_round.objection(state.config, self._opened.agreement, policy)
        if plan is not None and (plan.epsilon_ceiling > policy.epsilon_per_run or plan.delta > policy.delta_max):
            reason = reason or RefusalReason.PRIVACY
        if state.participant.version < policy.oldest_protocol:
            reason = reason or RefusalReason.CONFIGURATION
        if reason is not None:
            self._home.diary.round_declined(request.run, request.round, reason.value)
            raise NotAllowedAnyMore("This label's policy does not allow the run any more.")

    def _expect_planned(self, request: ReportRequest, config: RunConfiguration) -> None:
        """Accept training rounds up to the planned number, then one evaluation of the result.

        The ledger enforces both limits on its own; this keeps rounds in order.

        Raises:
            UnplannedRound: the run plans no such round.
        """
        if request.kind is Kind.TRAIN:
            planned = request.round <= config.rounds
        else:
            with open_ledger(self._home) as ledger:
                planned = request.round == config.rounds + 1 and bool(ledger.spent_in(request.run))
        if not planned:
            raise UnplannedRound(
                f"The run plans {config.rounds} rounds, then one evaluation; this round is beyond them."
            )

    def _charge(self, request: ReportRequest, state: RunState, prepared: Prepared, randomness: Randomness) -> None:
        """Charge this round's privacy loss to the ledger; draw the class histogram in the run's first round."""
        config, plan = state.config, state.plan
        balanced = config.balance is not Balance.NONE
        first = balanced and state.histogram is None
        with open_ledger(self._home) as ledger:
            events: tuple[Event, ...] = (NonPrivate(),)
            if plan is not None and config.steps == 1:  # banded matrix factorisation: the first round pays for all
                events = () if ledger.spent_in(request.run) else plan.whole_run
            elif plan is not None:
                events = plan.events(config.steps_per_round, histogram=first)
                if request.round - 1 in config.evaluated:
                    events += plan.evaluation()
            ledger.charge(request.run, request.round, events)
            state.ledger = ledger.head
        if first:
            state.histogram = local_round.histogram_of(prepared.train, len(config.classes), plan, randomness)

    def _charge_evaluation(self, request: ReportRequest, state: RunState) -> None:
        """Charge the evaluation after the last round, unless the first round's charge covers the whole run."""
        if state.plan is None or state.plan.evaluations is None or state.config.steps == 1:
            return
        with open_ledger(self._home) as ledger:
            ledger.charge(request.run, request.round, state.plan.evaluation())
            state.ledger = ledger.head

    def _data(self, config: RunConfiguration) -> Prepared:
        """This run's data, cached for the next message of the same process."""
        if config.digest not in self._prepared:
            self._prepared = {config.digest: prepare(self._home, config)}
        return self._prepared[config.digest]

    def _randomness(self, round_number: int) -> Randomness:
        if self._seed is None:
            return Randomness.system()
        drawn = hashlib.sha256(f"{self._seed}/{self._home.name}/{round_number}".encode()).digest()
        return Randomness.for_simulation(int.from_bytes(drawn[:8]))


def _too_old(version: int, policy: Policy) -> ConfigurationError:
    return ConfigurationError(
        f"The run uses version {version} of the protocol; this label's policy requires {policy.oldest_protocol}.",
        hint="See docs/upgrade.md; the rule is oldest_protocol in policy.toml.",
    )
