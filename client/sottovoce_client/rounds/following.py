"""Computation of a run's model at a label: initial parameters, then the sums of the rounds.

A label accepts only the initial parameters from others, and their digest is in the signed configuration. It checks what
it receives about later rounds against what it knows: the number of participants, the number of survivors that it
signed, and the largest sum that honest labels can produce.
"""

from collections.abc import Mapping

from sottovoce.models.trainable import trainable_mask
from sottovoce.protocol.session import Session
from sottovoce.protocol.violations import ImplausibleSum, UnfollowedParameters
from sottovoce.run.configuration import RunConfiguration
from sottovoce.run.global_model import GlobalModel
from sottovoce.run.records import Carried
from sottovoce.run.round_sum import RoundSum
from sottovoce_client.rounds.run_state import Witnessed


def follow(
    saved: bytes | None,
    carried: Carried,
    *,
    number: int,
    config: RunConfiguration,
    session: Session,
    labels: int,
    witnessed: Mapping[int, Witnessed],
) -> GlobalModel:
    """The model that a round starts from, computed by this label; nothing is written.

    Args:
        saved: `GlobalModel.to_bytes` after this label's last round; None before its first one.
        carried: the data sent along with the round's request, or with the end of the run.
        number: the round; at the end of the run, the one after the last.
        config: the run's configuration.
        session: the run's session.
        labels: number of labels in the federation.
        witnessed: what the label observed of earlier rounds, by number.

    Raises:
        UnfollowedParameters: the data does not lead to this round, or contradicts what this label knows.
        WrongParameters: the data does not have the run's form.
        LocalProtocolError: the saved model is damaged.
    """
    run, trainable = session.run, trainable_mask(config)
    if saved is not None:
        model = GlobalModel.from_bytes(saved, config, run=run, labels=labels, trainable=trainable)
    elif carried.first is not None:
        model = GlobalModel.start(config, run=run, labels=labels, trainable=trainable, first=carried.first)
    else:
        raise UnfollowedParameters(
            "This label lacks the run's parameters, but the request does not contain the initial ones."
        )
    sums = {
        each: RoundSum.from_bytes(each, data, model.ring, model.coordinates)
        for each, data in carried.sums.items()
        if each < number
    }
    for each in range(model.rounds + 1, number):
        if each not in sums:
            raise UnfollowedParameters(f"Round {number} lacks the sum of round {each}.")
        _check_counts(sums[each], session, witnessed.get(each))
        try:
            model.follow(sums[each])
        except ImplausibleSum as error:
            raise UnfollowedParameters(f"The sum of round {each} is invalid: {error.message}") from None
    for each, total in sums.items():
        if not model.has_followed(total):
            raise UnfollowedParameters(f"The sum of round {each} differs from the one that this label applied.")
    return model


def _check_counts(total: RoundSum, session: Session, seen: Witnessed | None) -> None:
    """Refuse counts that are impossible in this run, or contradict what this label observed."""
    if total.is_aborted:
        return
    if not session.least_survivors <= total.survivors <= total.participants <= len(session.members):
        raise UnfollowedParameters(f"The number of survivors of round {total.round} is impossible in this run.")
    if seen is not None and (total.participants != seen.participants or seen.survivors not in (0, total.survivors)):
        raise UnfollowedParameters(f"Round {total.round} had other participants or survivors than its sum states.")
