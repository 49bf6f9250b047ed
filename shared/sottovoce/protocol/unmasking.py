"""What a share holder checks before it opens anything, and what it gives."""

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
    """The values and complaints of a holder's `Shares`, once the survivor set has proved to be in order.

    Args:
        request: what the coordinator asks about this round.
        round_: the round that this label reported in.
        own: its share of its own self-mask.
        pairs: its keys.
        identities: pinned identity keys, when the agreement wants the set signed; None when it does not.
        least: survivors that its own policy wants.

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
    """Purpose of the boxes that are opened of a label, and the request that they are bound to.

    Of a survivor, those of its report; of a label that dropped out, those of its preparation, which it made before the
    request was. Never both: that is what keeps a label's vector masked.
    """
    return (REPORT, round_.request.digest) if alive else (PREPARATION, b"")


def opened(box: Delivered, key: bytes, round_: Round, sender: str, holder: str, *, alive: bool) -> bytes:
    """The share in a box.

    Raises:
        BadSeal: it does not open with this key, or holds another share than its tag says.
    """
    purpose, bound = sealed_for(round_, alive)
    header = box_header(round_.session, purpose, sender, holder, round_.request.round, bound)
    share = unseal(key, box.sealed, commitment=box.commitment, header=header)
    if share_tag(share) != box.share_tag:
        raise BadSeal("A box holds another share than its tag says.")
    return share


def _check_signatures(request: UnmaskRequest, round_: Round, identities: Roster | None) -> None:
    if identities is None:
        if request.signatures:
            raise TooFewSignatures("Signatures came along, but the agreement wants none.")
        return
    digest = round_.survivors_digest(request.survivors)
    signers = {item.label for item in request.signatures}
    if len(signers) != len(request.signatures) or not signers <= set(request.survivors):
        raise BadSignature(f"Round {request.round}: the survivor set is signed twice by one label, or by no survivor.")
    for item in request.signatures:
        if not is_signature(identities[item.label], item.signature, "cross-check", digest):
            raise BadSignature(f"Round {request.round}: '{item.label}' has not signed this survivor set.")
    if len(signers) < round_.topology.threshold:
        raise TooFewSignatures(
            f"Round {request.round}: {len(signers)} labels have signed the survivor set; "
            f"{round_.topology.threshold} are needed."
        )
