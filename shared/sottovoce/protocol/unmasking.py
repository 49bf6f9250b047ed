"""Giving and using shares: what a share holder checks before it opens anything, and what the coordinator rebuilds."""

from collections.abc import Callable, Mapping

import numpy as np

from sottovoce.protocol.adverts import Roster
from sottovoce.protocol.messages import UnmaskRequest
from sottovoce.protocol.prg import SEED_BYTES
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.seal import unseal
from sottovoce.protocol.shamir import combine
from sottovoce.protocol.signatures import is_signature
from sottovoce.protocol.violations import BadSignature, NotAParticipant, TooFewSignatures, WrongBundles, WrongShares


def answer(
    request: UnmaskRequest,
    round_: Round,
    *,
    label: str,
    own: bytes,
    roster: Roster | None,
    seal_key: Callable[[str], bytes],
) -> bytes:
    """The values of a holder's `Shares`, once the survivor set has proved to be in order.

    Args:
        request: what the coordinator asks about this round.
        round_: the round that this label reported in.
        label: this holder.
        own: its shares of its own secrets.
        roster: pinned identity keys, when the agreement wants the set signed; None when it does not.
        seal_key: gives the key that a sender's bundle for this label is sealed with.

    Raises:
        WrongSurvivors, TooFewSurvivors, NotAParticipant, BadSignature, TooFewSignatures, WrongBundles, BadSeal: as
            their names say.
    """
    round_.check_survivors(request.survivors, including=label)
    if label not in round_.topology.holders:
        raise NotAParticipant(f"'{label}' holds no shares in round {request.round}.")
    _check_signatures(request, round_, roster)
    bundles = {sealed.label: sealed.box for sealed in request.bundles}
    if len(bundles) != len(request.bundles) or set(bundles) != set(request.survivors) - {label}:
        raise WrongBundles(f"Round {request.round}: not exactly one bundle from each other survivor.")
    opened = {label: own}
    for sender, box in bundles.items():
        opened[sender] = unseal(seal_key(sender), box, round_.header(sender, label))
        if len(opened[sender]) != round_.bundle_bytes(sender):
            raise WrongBundles(f"Round {request.round}: the bundle of '{sender}' has another length than its shares.")
    return b"".join(
        opened[survivor][place * SEED_BYTES : (place + 1) * SEED_BYTES]
        for survivor, _, place in round_.unmasked(request.survivors)
    )


def _check_signatures(request: UnmaskRequest, round_: Round, roster: Roster | None) -> None:
    if roster is None:
        if request.signatures:
            raise TooFewSignatures("Signatures came along, but the agreement wants none.")
        return
    digest = round_.survivors_digest(request.survivors)
    signers = {item.label for item in request.signatures}
    if len(signers) != len(request.signatures) or not signers <= set(request.survivors):
        raise BadSignature(f"Round {request.round}: the survivor set is signed twice by one label, or by no survivor.")
    for item in request.signatures:
        if not is_signature(roster[item.label], item.signature, "cross-check", digest):
            raise BadSignature(f"Round {request.round}: '{item.label}' has not signed this survivor set.")
    if len(signers) < round_.topology.threshold:
        raise TooFewSignatures(
            f"Round {request.round}: {len(signers)} labels have signed the survivor set; "
            f"{round_.topology.threshold} are needed."
        )


def masks_left(
    round_: Round, survivors: tuple[str, ...], shares: Mapping[str, bytes]
) -> tuple[list[bytes], list[bytes]]:
    """Seeds of the masks that are left in the sum over the survivors.

    Args:
        round_: the round.
        survivors: whose vectors are in the sum.
        shares: each answering holder's values.

    Returns:
        Seeds whose masks were added, and seeds whose masks were subtracted.

    Raises:
        WrongShares: too few, or they do not lie on one polynomial.
    """
    topology = round_.topology
    given = [(number, shares[label]) for number, label in enumerate(topology.holders) if label in shares]
    order = list(round_.unmasked(survivors))
    if any(len(values) != SEED_BYTES * len(order) for _, values in given):
        raise WrongShares(f"Round {round_.request.round}: a holder gave another number of shares than was asked for.")
    matrix = np.array([np.frombuffer(values, np.uint8) for _, values in given], np.uint8)
    secrets = combine([number for number, _ in given], matrix, threshold=topology.share_threshold)
    added: list[bytes] = []
    subtracted: list[bytes] = []
    for index, (label, partner, _) in enumerate(order):
        seed = secrets[index * SEED_BYTES : (index + 1) * SEED_BYTES]
        (subtracted if partner is not None and partner < label else added).append(seed)
    return added, subtracted
