"""Messages between the coordinator and a label: frozen values, with bytes only at the edge.

Messages of a round are defined here, those of the set-up in `setup_messages`; `decode` reads them all.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.agreement import MOST_LABELS
from sottovoce.protocol.encoding import Blob, Body, Bytes, Choice, Fixed, Many, Name, Number, Reader, Record
from sottovoce.protocol.message import (
    DIGEST,
    MAGIC,
    ROUND,
    RUN,
    SECRET,
    SECRET_BYTES,
    SIGNATURE,
    SPOKEN,
    TAG,
    TAG_BYTES,
    UNVERSIONED,
    VERSION,
    Message,
    Signed,
)
from sottovoce.protocol.run_over import RunOver
from sottovoce.protocol.setup_messages import (
    Advert,
    Announcement,
    Ciphertexts,
    Encapsulated,
    Nonces,
    Pairing,
    PrepareRequest,
    Refusal,
    Reveal,
    Roster,
    Versions,
    VersionsRequest,
)
from sottovoce.protocol.violations import Malformed, WrongVersion

__all__ = [
    "Advert",
    "Announcement",
    "Box",
    "Ciphertexts",
    "Complaint",
    "CrossCheckRequest",
    "CrossCheckSignature",
    "Delivered",
    "Encapsulated",
    "Kind",
    "Message",
    "Nonces",
    "Pairing",
    "Preparation",
    "PrepareRequest",
    "Prepared",
    "Refusal",
    "Report",
    "ReportRequest",
    "Reveal",
    "Roster",
    "RunOver",
    "Shares",
    "Signature",
    "Signed",
    "UnmaskRequest",
    "Versions",
    "VersionsRequest",
    "decode",
]

SEALED = Fixed(SECRET_BYTES + TAG_BYTES)


class Kind(StrEnum):
    """What a round carries: an update with counters, or counters only."""

    TRAIN = "train"
    EVALUATE = "evaluate"


@dataclass(frozen=True)
class Box(Record):
    """One holder's sealed share of a secret, with tags that later prove who lied about it.

    Args:
        sealed: the share, encrypted and authenticated.
        share_tag: tag of the share, which detects a holder that sends another share.
        key_tag: tag of the sealing key, with which a holder can prove that a box does not open.
    """

    sealed: Annotated[bytes, SEALED] = field(repr=False)
    share_tag: Annotated[bytes, TAG]
    key_tag: Annotated[bytes, TAG]


@dataclass(frozen=True)
class Preparation(Signed):
    """Label → coordinator: what removes my masks of one round if I drop out of it.

    Args:
        run: the run.
        session: the set-up.
        round: the one round that it is valid for.
        label: the sender.
        commitment: to the secret d that opens the vault (`keys.secret_commitment`).
        vault: the round's key with each partner, in ascending order of the partners, sealed under d.
        tags: tags of these keys, in the same order; the partner's tag must be the same.
        boxes: a share of d for each other share holder, in ascending order of the holders.
        signature: Ed25519, by the label's pinned identity key.
    """

    TYPE: ClassVar[int] = 9
    PURPOSE: ClassVar[str] = "preparation"
    run: Annotated[bytes, RUN]
    session: Annotated[bytes, DIGEST]
    round: Annotated[int, ROUND]
    label: Annotated[str, Name()]
    commitment: Annotated[bytes, DIGEST]
    vault: Annotated[bytes, Blob(most=SECRET_BYTES * MOST_LABELS)] = field(repr=False)
    tags: Annotated[tuple[bytes, ...], Many(TAG, most=MOST_LABELS)] = field(repr=False)
    boxes: Annotated[tuple[Box, ...], Many(Body(Box), most=MOST_LABELS)] = field(repr=False)
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True, order=True)
class Prepared(Record):
    """A participant of a round, and the digest of its preparation for the round."""

    label: Annotated[str, Name()]
    preparation: Annotated[bytes, DIGEST]


@dataclass(frozen=True)
class ReportRequest(Message):
    """Coordinator → participants: a round begins. Everyone must get the same bytes: their digest names the round.

    Args:
        run: the run.
        session: the set-up that the round belongs to.
        round: its number, from 1, always newer than any before it, whatever its kind.
        kind: what the round carries.
        parameters_digest: digest of the parameters that the round starts from (`GlobalModel.digest`).
        elements: length of the vector that is summed, in ring elements.
        participants: in ascending order of their labels.
        left_out: members that the coordinator no longer asks, because it can prove that they lied or its people named
            them; visible to all.
    """

    TYPE: ClassVar[int] = 11
    run: Annotated[bytes, RUN]
    session: Annotated[bytes, DIGEST]
    round: Annotated[int, ROUND]
    kind: Annotated[Kind, Choice(Kind)]
    parameters_digest: Annotated[bytes, DIGEST]
    elements: Annotated[int, Number(4, least=1)]
    participants: Annotated[tuple[Prepared, ...], Many(Body(Prepared), most=MOST_LABELS, ascending=True)]
    left_out: Annotated[tuple[str, ...], Many(Name(), most=MOST_LABELS, ascending=True)]


@dataclass(frozen=True)
class Report(Signed):
    """Label → coordinator: my masked vector, shares of its own mask, and my preparation for the next round.

    Args:
        run: the run.
        round: the round.
        request: digest of the request that this answers.
        label: the sender.
        ring_bits: 16, 24 or 32.
        vector: ring elements, little-endian, packed to `ring_bits` each.
        commitment: to the secret s of the self-mask (`keys.secret_commitment`).
        boxes: a share of s for each other share holder, in ascending order of the holders.
        following: the preparation for round + 1.
        signature: Ed25519, by the label's pinned identity key.
    """

    TYPE: ClassVar[int] = 12
    PURPOSE: ClassVar[str] = "report"
    run: Annotated[bytes, RUN]
    round: Annotated[int, ROUND]
    request: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    ring_bits: Annotated[int, Number(1)]
    vector: Annotated[Bytes, Blob(view=True)] = field(repr=False)
    commitment: Annotated[bytes, DIGEST]
    boxes: Annotated[tuple[Box, ...], Many(Body(Box), most=MOST_LABELS)] = field(repr=False)
    following: Annotated[Preparation, Body(Preparation)] = field(repr=False)
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True)
class CrossCheckRequest(Message):
    """Coordinator → survivors: the labels whose reports are in the sum, for you to sign."""

    TYPE: ClassVar[int] = 13
    run: Annotated[bytes, RUN]
    round: Annotated[int, ROUND]
    survivors: Annotated[tuple[str, ...], Many(Name(), most=MOST_LABELS, ascending=True)]


@dataclass(frozen=True)
class CrossCheckSignature(Message):
    """Label → coordinator → share holders: the label's signature over `round_context.Round.survivors_digest`."""

    TYPE: ClassVar[int] = 14
    run: Annotated[bytes, RUN]
    round: Annotated[int, ROUND]
    label: Annotated[str, Name()]
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True, order=True)
class Signature(Record):
    """One label's signature over the digest of the survivor set."""

    label: Annotated[str, Name()]
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True)
class Delivered(Record):
    """A box on its way to its holder: from a survivor's report, or from a dropped label's preparation.

    Args:
        commitment: commitment in the message that the box comes from.
        sealed: the sealed share.
        share_tag: the share's.
    """

    commitment: Annotated[bytes, DIGEST]
    sealed: Annotated[bytes, SEALED] = field(repr=False)
    share_tag: Annotated[bytes, TAG]


@dataclass(frozen=True)
class UnmaskRequest(Message):
    """Coordinator → a surviving share holder: the survivors, who signed that set, and the boxes sealed to you.

    Args:
        run: the run.
        round: the round.
        survivors: labels whose reports are in the sum.
        signatures: over that set; empty where the agreement requires none.
        boxes: one from each participant but the holder, in ascending order of the participants.
    """

    TYPE: ClassVar[int] = 15
    run: Annotated[bytes, RUN]
    round: Annotated[int, ROUND]
    survivors: Annotated[tuple[str, ...], Many(Name(), most=MOST_LABELS, ascending=True)]
    signatures: Annotated[tuple[Signature, ...], Many(Body(Signature), most=MOST_LABELS, ascending=True)]
    boxes: Annotated[tuple[Delivered, ...], Many(Body(Delivered), most=MOST_LABELS)]


@dataclass(frozen=True, order=True)
class Complaint(Record):
    """A box that does not open, or whose share does not match its tag; its key proves this, and opens nothing else."""

    label: Annotated[str, Name()]
    key: Annotated[bytes, SECRET] = field(repr=False)


@dataclass(frozen=True)
class Shares(Signed):
    """Label → coordinator: the shares that remove the masks.

    Args:
        run: the run.
        round: the round.
        survivors_digest: digest of the survivor set that this answers.
        label: the sender.
        values: 32 bytes for each participant without a complaint, in ascending order.
        complaints: about boxes.
        signature: Ed25519, by the label's pinned identity key.
    """

    TYPE: ClassVar[int] = 16
    PURPOSE: ClassVar[str] = "shares"
    run: Annotated[bytes, RUN]
    round: Annotated[int, ROUND]
    survivors_digest: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    values: Annotated[tuple[bytes, ...], Many(SECRET, most=MOST_LABELS)] = field(repr=False)
    complaints: Annotated[tuple[Complaint, ...], Many(Body(Complaint), most=MOST_LABELS, ascending=True)]
    signature: Annotated[bytes, SIGNATURE]


_KINDS: dict[int, type[Message]] = {
    kind.TYPE: kind
    for kind in (
        Announcement,
        Advert,
        Refusal,
        Roster,
        Reveal,
        Nonces,
        Ciphertexts,
        Pairing,
        Preparation,
        PrepareRequest,
        ReportRequest,
        Report,
        CrossCheckRequest,
        CrossCheckSignature,
        UnmaskRequest,
        Shares,
        RunOver,
        VersionsRequest,
        Versions,
    )
}


def decode(data: Bytes) -> Message:
    """Read a message from another party. A report's vector stays in place within `data`, without a copy.

    Raises:
        Malformed: the bytes are not exactly one message in its canonical form.
        WrongVersion: they are of a version of the protocol that this release does not speak.
    """
    reader = Reader(data)
    try:
        if reader.take(len(MAGIC)) != MAGIC:
            raise ValueError("its first bytes are wrong")
        reader.version, code = reader.number(1), reader.number(1)
        if reader.version not in (UNVERSIONED, *SPOKEN):
            raise WrongVersion(
                f"It has version {reader.version} of the protocol; this release speaks {SPOKEN[0]} to {VERSION}.",
                hint="Versions that understand each other: docs/upgrade.md",
            )
        if code not in _KINDS:
            raise ValueError(f"type {code} is unknown")
        message = _KINDS[code].read(reader)
        reader.finish()
    except (ValueError, LocalProtocolError) as error:
        raise Malformed(f"Bytes are not a message of masked rounds: {error}.") from None
    return message
