"""Computation of a run's model at a label: initial parameters, then the sums of the rounds.

A label accepts only the initial parameters from others, and their digest is in the signed configuration. It checks what
it receives about later rounds against what it knows: the number of participants, the number of survivors that it
signed, and the largest sum that honest labels can produce.
"""

from collections.abc import Mapping

from sottovoce.models.trainable import trainable_mask
from sottovoce.protocol.messages import ReportRequest
from sottovoce.protocol.session import Session
from sottovoce.protocol.violations import ImplausibleSum, UnfollowedParameters
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import Carried
from sottovoce.run.round_sum import RoundSum
from sottovoce_client.rounds.run_state import Witnessed


def follow(
    saved: bytes | None,
    request: ReportRequest,
    carried: Carried,
    *,
    config: RunConfiguration,
    session: Session,
    labels: int,
    witnessed: Mapping[int, Witnessed],
) -> GlobalModel:
    """The model that a round starts from, computed by this label; nothing is written.

    Args:
        saved: `GlobalModel.to_bytes` after this label's last round; None before its first one.
        request: the round's request.
        carried: the data sent along with it.
        config: the run's configuration.
        session: the run's session.
        labels: number of labels in the federation.
        witnessed: what the label observed of earlier rounds, by number.

    Raises:
        UnfollowedParameters: the data does not lead to this round, or contradicts what this label knows.
        WrongParameters: the data does not have the run's form.
        LocalProtocolError: the saved model is damaged.
    """
    run, trainable = request.run, trainable_mask(config)
    if saved is not None:
        model = GlobalModel.from_bytes(saved, config, run=run, labels=labels, trainable=trainable)
    elif carried.first is not None:
        model = GlobalModel.start(config, run=run, labels=labels, trainable=trainable, first=carried.first)
    else:
        raise UnfollowedParameters(
            "This label lacks the run's parameters, but the request does not contain the initial ones."
        )
    known = model.rounds
    sums = {
        number: RoundSum.from_bytes(number, data, model.ring, model.coordinates)
        for number, data in carried.sums.items()
        if number < request.round
    }
    for number in range(known + 1, request.round):
        if number not in sums:
            raise UnfollowedParameters(f"Round {request.round} lacks the sum of round {number}.")
        _check_counts(sums[number], session, witnessed.get(number))
        try:
            model.follow(sums[number])
        except ImplausibleSum as error:
            raise UnfollowedParameters(f"The sum of round {number} is invalid: {error.message}") from None
    for number, total in sums.items():
        if number <= known and not model.has_followed(total):
            raise UnfollowedParameters(f"The sum of round {number} differs from the one that this label applied.")
    return model


def _check_counts(total: RoundSum, session: Session, seen: Witnessed | None) -> None:
    """Refuse counts that are impossible in this run, or contradict what this label observed."""
    if total.is_aborted:
        return
    if not session.least_survivors <= total.survivors <= total.participants <= len(session.members):
        raise UnfollowedParameters(f"The number of survivors of round {total.round} is impossible in this run.")
    if seen is not None and (total.participants != seen.participants or seen.survivors not in (0, total.survivors)):
        raise UnfollowedParameters(f"Round {total.round} had other participants or survivors than its sum states.")
