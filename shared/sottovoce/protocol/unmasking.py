"""Checks of a share holder before it opens anything, and its answer."""

from sottovoce.protocol.adverts import Roster
from sottovoce.protocol.keys import share_tag
from sottovoce.protocol.messages import Complaint, Delivered, UnmaskRequest
from sottovoce.protocol.pair_keys import PairKeys
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.seal import unseal
from sottovoce.protocol.sharing import PREPARATION, REPORT, box_header
from sottovoce.protocol.signatures import is_signature
from sottovoce.protocol.violations import BadSeal, BadSignature, NotAParticipant, TooFewSignatures, WrongBoxes


def answer(
    request: UnmaskRequest,
    round_: Round,
    *,
    own: bytes,
    pairs: PairKeys,
    identities: Roster | None,
    least: int,
) -> tuple[tuple[bytes, ...], tuple[Complaint, ...]]:
    """The values and complaints of a holder's `Shares`, after checking the survivor set.

    Args:
        request: the coordinator's request for this round.
        round_: the round that this label reported in.
        own: the holder's share of its own self-mask.
        pairs: the holder's keys.
        identities: pinned identity keys if the agreement requires signatures of the set; otherwise None.
        least: survivors that the holder's own policy requires.

    Raises:
        WrongSurvivors, TooFewSurvivors, NotAParticipant, BadSignature, TooFewSignatures, WrongBoxes: as their names
            say.
    """
    me = pairs.label
    round_.check_survivors(request.survivors, including=me, least=least)
    if me not in round_.topology.holders:
        raise NotAParticipant(f"'{me}' holds no shares in this run.")
    _check_signatures(request, round_, identities)
    others = [label for label in round_.participants if label != me]
    if len(request.boxes) != len(others):
        raise WrongBoxes(f"Round {request.round}: not exactly one box from each other participant.")
    boxes, alive = dict(zip(others, request.boxes, strict=True)), frozenset(request.survivors)
    values, complaints = [], []
    for sender in round_.participants:
        if sender == me:
            values.append(own)
            continue
        purpose, bound = sealed_for(round_, sender in alive)
        key = pairs.seal_key(sender, me, request.round, purpose, bound)
        try:
            values.append(opened(boxes[sender], key, round_, sender, me, alive=sender in alive))
        except BadSeal:
            complaints.append(Complaint(sender, key))
    return tuple(values), tuple(complaints)


def sealed_for(round_: Round, alive: bool) -> tuple[str, bytes]:
    """Purpose of the boxes that are opened for a label, and the request that they are bound to.

    For a survivor, the boxes of its report; for a label that dropped out, those of its preparation, which precedes the
    request. Never both: this keeps a label's vector masked.
    """
    return (REPORT, round_.request.digest) if alive else (PREPARATION, b"")


def opened(box: Delivered, key: bytes, round_: Round, sender: str, holder: str, *, alive: bool) -> bytes:
    """The share in a box.

    Raises:
        BadSeal: it does not open with this key, or its share does not match its tag.
    """
    purpose, bound = sealed_for(round_, alive)
    header = box_header(round_.session, purpose, sender, holder, round_.request.round, bound)
    share = unseal(key, box.sealed, commitment=box.commitment, header=header)
    if share_tag(share) != box.share_tag:
        raise BadSeal("A share in a box does not match its tag.")
    return share


def _check_signatures(request: UnmaskRequest, round_: Round, identities: Roster | None) -> None:
    if identities is None:
        if request.signatures:
            raise TooFewSignatures("Signatures were sent, but the agreement has no cross-check.")
        return
    digest = round_.survivors_digest(request.survivors)
    signers = {item.label for item in request.signatures}
    if len(signers) != len(request.signatures) or not signers <= set(request.survivors):
        raise BadSignature(f"Round {request.round}: a label signed the survivor set twice, or is not a survivor.")
    for item in request.signatures:
        if not is_signature(identities[item.label], item.signature, "cross-check", digest):
            raise BadSignature(f"Round {request.round}: '{item.label}' has not signed this survivor set.")
    if len(signers) < round_.topology.threshold:
        raise TooFewSignatures(
            f"Round {request.round}: {len(signers)} labels have signed the survivor set; "
            f"{round_.topology.threshold} are needed."
        )
