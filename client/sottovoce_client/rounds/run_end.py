"""A label's part in the end of a run: it follows the run to its last model, then releases and deletes the rest.

It loads torch, as `sottovoce_client.rounds.trainer` does, which imports it.
"""

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.messages import RunOver
from sottovoce.protocol.run_over import check_over, check_signed
from sottovoce.protocol.violations import UnfollowedParameters
from sottovoce.run.records import Carried
from sottovoce_client.budget.known_heads import open_ledger
from sottovoce_client.rounds import local_round
from sottovoce_client.rounds.following import follow
from sottovoce_client.rounds.opened_home import OpenedHome
from sottovoce_client.rounds.run_state import RunState


def end_run(over: RunOver, carried: Carried, opened: OpenedHome) -> None:
    """Leave a run that the coordinator ended. A second time, nothing happens.

    Args:
        over: the end of the run.
        carried: what the label may lack to follow the run.
        opened: the label's home.

    Raises:
        BadSignature: the coordinator did not sign it.
        WrongRun, WrongAgreement, WrongRound, UnplannedRound: it contradicts what the label knows of the run.
        UnfollowedParameters, WrongParameters: the data does not lead to the stated model. The promise is kept.
        LocalProtocolError: the label never joined the run.
        LedgerError: the ledger cannot be read or written.
    """
    check_signed(over, opened.agreement.coordinator_key)
    with open_ledger(opened.home) as ledger:
        if over.run not in ledger:
            raise LocalProtocolError("This label has not joined the run.")
        with opened.states.locked(over.run):
            state = _state(over, opened)
            if state is not None:
                _check(over, carried, state, opened, charged=bool(ledger.charged_rounds(over.run)))
            if ledger.is_open(over.run):
                ledger.close_run(over.run)
                opened.home.diary.over(over.run, after=over.round, ledger=ledger.head)
            opened.states.forget(over.run)


def _state(over: RunOver, opened: OpenedHome) -> RunState | None:
    """The run's state; None if there is none, or it cannot be read: then the label can only leave the run."""
    try:
        return opened.states.load(over.run)
    except LocalProtocolError:  # left already, killed while joining, damaged, or the agreement was replaced
        return None


def _check(over: RunOver, carried: Carried, state: RunState, opened: OpenedHome, *, charged: bool) -> None:
    """Compare the end with the run's state, and note the final weights if the label trained in the run."""
    participant, config = state.participant, state.config
    check_over(over, advert=participant.advert, rounds=config.rounds, newest_round=participant.newest_round)
    if not over.has_model or not charged or not participant.is_set_up:
        return
    try:
        model = follow(
            opened.states.model(over.run),
            carried,
            number=over.round + 1,
            config=config,
            session=participant.session,
            labels=len(opened.agreement.members),
            witnessed=state.witnessed,
        )
        if model.digest != over.parameters_digest:
            raise UnfollowedParameters("The run is said to end in a model that does not follow from its sums.")
    except UnfollowedParameters:
        opened.home.diary.round_declined(over.run, over.round, RefusalReason.UNFOLLOWED.value)
        raise
    opened.home.diary.followed(over.run, weights=local_round.weights_digest(model.parameters, config))
