"""How a label follows a run: from its first parameters, by the sums of its rounds, to what the next round starts from.

A label takes parameters from nobody but for the first ones, whose digest the signed configuration names. What it is
told of later rounds it holds against what it knows: how many took part, how many survivors it signed, and how large a
sum honest labels can make.
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
    """The model that a round starts from, as this label computes it; nothing is written.

    Args:
        saved: `GlobalModel.to_bytes` of the last round that this label was in; None if there was none.
        request: of the round.
        carried: what came along with it.
        config: of the run.
        session: of the run.
        labels: of the federation.
        witnessed: what the label saw of earlier rounds, by their numbers.

    Raises:
        UnfollowedParameters: what came along does not lead to this round, or contradicts what this label knows.
        WrongParameters: it is of another form than the run's.
        LocalProtocolError: what was saved is damaged.
    """
    run, trainable = request.run, trainable_mask(config)
    if saved is not None:
        model = GlobalModel.from_bytes(saved, config, run=run, labels=labels, trainable=trainable)
    elif carried.first is not None:
        model = GlobalModel.start(config, run=run, labels=labels, trainable=trainable, first=carried.first)
    else:
        raise UnfollowedParameters(
            "This label has none of the run's parameters, and the first ones did not come along."
        )
    known = model.rounds
    sums = {
        number: RoundSum.from_bytes(number, data, model.ring, model.coordinates)
        for number, data in carried.sums.items()
        if number < request.round
    }
    for number in range(known + 1, request.round):
        if number not in sums:
            raise UnfollowedParameters(f"Round {request.round} came without the sum of round {number}.")
        _check_counts(sums[number], session, witnessed.get(number))
        try:
            model.follow(sums[number])
        except ImplausibleSum as error:
            raise UnfollowedParameters(f"What came as the sum of round {number} is none: {error.message}") from None
    for number, total in sums.items():
        if number <= known and not model.has_followed(total):
            raise UnfollowedParameters(f"Another sum of round {number} came than this label has followed.")
    return model


def _check_counts(total: RoundSum, session: Session, seen: Witnessed | None) -> None:
    """Refuse counts that no round of this run can have, or that this label saw otherwise."""
    if total.is_aborted:
        return
    if not session.least_survivors <= total.survivors <= total.participants <= len(session.members):
        raise UnfollowedParameters(f"No sum of this run has as many survivors as that of round {total.round}.")
    if seen is not None and (total.participants != seen.participants or seen.survivors not in (0, total.survivors)):
        raise UnfollowedParameters(f"Round {total.round} had other participants or survivors than its sum says.")
