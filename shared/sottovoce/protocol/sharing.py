"""One secret of one label and round, shared among the holders, and its use.

Two kinds: d, shared before the round in a `Preparation`, opens the vault with the round's pair keys of a label that
drops out; s, shared in the `Report`, is the self-mask of a label that does not. Everything that is ever opened has a
tag or a commitment in its sender's signed message, so that lies about it are detected.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sottovoce.protocol.keys import derive, key_tag, names, pair_tag, secret_commitment, share_tag
from sottovoce.protocol.message import SECRET_BYTES
from sottovoce.protocol.messages import Box, Preparation
from sottovoce.protocol.pair_keys import PairKeys
from sottovoce.protocol.seal import OVERHEAD, seal, unseal
from sottovoce.protocol.session import Session
from sottovoce.protocol.shamir import split
from sottovoce.protocol.violations import BadSeal

PREPARATION, REPORT = "seal-preparation", "seal-report"
"""Purposes of sealed boxes."""


def box_header(session: Session, purpose: str, sender: str, recipient: str, number: int, request: bytes) -> bytes:
    """Associated data of a box."""
    return session.header(purpose) + number.to_bytes(4) + names(sender, recipient) + request


@dataclass(frozen=True)
class SharedSecret:
    """A newly shared secret; `own` is the sharer's own share, empty if it holds none."""

    secret: bytes = field(repr=False)
    commitment: bytes
    own: bytes = field(repr=False)
    boxes: tuple[Box, ...] = field(repr=False)


def share(pairs: PairKeys, number: int, purpose: str, request: bytes = b"") -> SharedSecret:
    """Draw a secret and share it among the holders.

    Args:
        pairs: the sharer's keys.
        number: the round.
        purpose: `PREPARATION` or `REPORT`.
        request: digest of the round's request, for a report.
    """
    session, me = pairs.session, pairs.label
    topology = session.topology
    secret = os.urandom(SECRET_BYTES)
    commitment = secret_commitment(secret)
    shares = split(secret, threshold=topology.share_threshold, holders=len(topology.holders))
    own, boxes = b"", []
    for holder, values in zip(topology.holders, shares, strict=True):
        plain = values.tobytes()
        if holder == me:
            own = plain
            continue
        key = pairs.seal_key(me, holder, number, purpose, request)
        header = box_header(session, purpose, me, holder, number, request)
        sealed = seal(key, plain, commitment=commitment, header=header)
        boxes.append(Box(sealed, share_tag(plain), key_tag(key)))
    return SharedSecret(secret, commitment, own, tuple(boxes))


def prepared(pairs: PairKeys, number: int, sign: Callable[..., Preparation]) -> Preparation:
    """A label's preparation for a round, with a fresh secret.

    Args:
        pairs: the label's keys.
        number: the round.
        sign: makes the signed message from its fields.
    """
    session, me = pairs.session, pairs.label
    shared = share(pairs, number, PREPARATION)
    keys = [pairs.round_key(partner, number) for partner in session.topology.partners(me)]
    return sign(
        run=session.run,
        session=session.digest,
        round=number,
        label=me,
        commitment=shared.commitment,
        vault=seal(
            _vault_key(shared.secret, session, me, number),
            b"".join(keys),
            commitment=shared.commitment,
            header=_vault_header(session, me, number),
        ),
        tags=tuple(pair_tag(key) for key in keys),
        boxes=shared.boxes,
    )


def vault_bytes(partners: int) -> int:
    """Length of a vault."""
    return partners * SECRET_BYTES + OVERHEAD


def open_vault(preparation: Preparation, secret: bytes, session: Session) -> Sequence[bytes]:
    """Round keys of a label that dropped out, in the order of its partners.

    Raises:
        BadSeal: the vault does not open, or a key does not match its tag.
    """
    me, number = preparation.label, preparation.round
    plain = unseal(
        _vault_key(secret, session, me, number),
        preparation.vault,
        commitment=preparation.commitment,
        header=_vault_header(session, me, number),
    )
    keys = [plain[start : start + SECRET_BYTES] for start in range(0, len(plain), SECRET_BYTES)]
    if tuple(pair_tag(key) for key in keys) != preparation.tags:
        raise BadSeal("A key in a vault does not match its tag.")
    return keys


def _vault_key(secret: bytes, session: Session, label: str, number: int) -> bytes:
    return derive(secret, purpose="vault", session=session.digest, context=number.to_bytes(4) + names(label))


def _vault_header(session: Session, label: str, number: int) -> bytes:
    return session.header("vault") + number.to_bytes(4) + names(label)


def boxes_of(label: str, session: Session) -> int:
    """Number of boxes in a label's report or preparation: one for each other holder."""
    return len(session.topology.holders) - (label in session.topology.holders)
