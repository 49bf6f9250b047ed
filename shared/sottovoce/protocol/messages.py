"""What the coordinator and a label say to each other: frozen values, with bytes only at the edge.

Every message is `MAGIC ‖ version ‖ type ‖ fields`; the annotation of a field says how it is written.
"""

import hashlib
import math
import os
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

from sottovoce.errors import ConfigurationError, LocalProtocolError
from sottovoce.federation.agreement import MOST_LABELS, Agreement
from sottovoce.federation.identity import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.encoding import Blob, Body, Bytes, Choice, Fixed, Many, Name, Number, Reader, Real, Record
from sottovoce.protocol.signatures import is_signature
from sottovoce.protocol.violations import Malformed
from sottovoce.run.configuration import RunConfiguration

MAGIC = b"SoVo"
VERSION = 1
RUN_BYTES = 16
DIGEST_BYTES = 32
MOST_CONFIG_BYTES = 2**16
MOST_BUNDLE_BYTES = 2**20

RUN = Fixed(RUN_BYTES)
DIGEST = Fixed(DIGEST_BYTES)
KEY = Fixed(PUBLIC_KEY_BYTES)
SIGNATURE = Fixed(SIGNATURE_BYTES)
ROUND = Number(4, least=1)


class Kind(StrEnum):
    """What a round carries: an update with counters, or counters only."""

    TRAIN = "train"
    EVALUATE = "evaluate"


class Message(Record):
    """A record that travels on its own."""

    TYPE: ClassVar[int]

    def encode(self) -> bytes:
        """The message's one encoding."""
        return b"".join(self._parts())

    def _parts(self) -> list[Bytes]:
        parts: list[Bytes] = [MAGIC, bytes([VERSION, self.TYPE])]
        self.write(parts)
        return parts


class Signed(Message):
    """A message whose last field is its label's signature over the SHA-256 of all bytes before it."""

    PURPOSE: ClassVar[str]
    label: Any
    signature: Any

    @cached_property
    def signed_digest(self) -> bytes:
        """SHA-256 of every byte of the message but the signature (32 bytes)."""
        hasher = hashlib.sha256()
        for part in self._parts()[:-1]:
            hasher.update(part)
        return hasher.digest()

    @classmethod
    def sign(cls, identity: Identity, **values: Any) -> Self:
        """The message with these fields and the signature of `identity`."""
        unsigned: Any = cls(**{**values, "signature": bytes(SIGNATURE_BYTES)})
        signature = identity.sign(purpose=cls.PURPOSE, message=unsigned.signed_digest)
        signed: Self = replace(unsigned, signature=signature)
        return signed

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the signature is that of this Ed25519 key (32 bytes)."""
        return is_signature(public_key, self.signature, self.PURPOSE, self.signed_digest)


@dataclass(frozen=True)
class Announcement(Message):
    """Coordinator → label: a run, with its whole configuration.

    Args:
        run: 16 random bytes that name the run.
        agreement: digest of the agreement that the run is under.
        config_digest: digest of the configuration, which every advert signs.
        config_bytes: `RunConfiguration.to_bytes()`.
    """

    TYPE: ClassVar[int] = 1
    run: Annotated[bytes, RUN]
    agreement: Annotated[bytes, DIGEST]
    config_digest: Annotated[bytes, DIGEST]
    config_bytes: Annotated[bytes, Blob(most=MOST_CONFIG_BYTES)] = field(repr=False)

    @classmethod
    def of(cls, agreement: Agreement, config: RunConfiguration) -> Self:
        """A new run of this configuration, under a name drawn from the operating system's entropy."""
        return cls(os.urandom(RUN_BYTES), agreement.digest, config.digest, config.to_bytes())

    @cached_property
    def config(self) -> RunConfiguration:
        """The configuration.

        Raises:
            Malformed: it cannot be read, is not in its canonical form, or is not what the digest names.
        """
        try:
            config = RunConfiguration.from_bytes(self.config_bytes)
        except ConfigurationError as error:
            raise Malformed(f"An announcement's configuration cannot be read: {error}") from None
        if config.to_bytes() != self.config_bytes or config.digest != self.config_digest:
            raise Malformed("An announcement's configuration is not what its digest names.")
        return config


@dataclass(frozen=True)
class Advert(Signed):
    """Label → coordinator → all: I take part in this run, by this configuration, with this key.

    Args:
        run: the run.
        agreement: digest of the agreement, as the label holds it.
        label: who speaks.
        public_key: X25519 public key, made for this run.
        config_digest: digest of the configuration.
        epsilon: ceiling of the label's ε over the run that it promises in public; infinite for a run without privacy.
        delta: δ of that ceiling.
        signature: Ed25519, by the label's pinned identity key.
    """

    TYPE: ClassVar[int] = 2
    PURPOSE: ClassVar[str] = "advert"
    run: Annotated[bytes, RUN]
    agreement: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    public_key: Annotated[bytes, KEY]
    config_digest: Annotated[bytes, DIGEST]
    epsilon: Annotated[float, Real(least=0.0, most=math.inf)]
    delta: Annotated[float, Real(least=0.0, most=1.0)]
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True)
class Refusal(Signed):
    """Label → coordinator: I take no part in this run; the reason tells no private fact."""

    TYPE: ClassVar[int] = 3
    PURPOSE: ClassVar[str] = "refusal"
    run: Annotated[bytes, RUN]
    agreement: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    reason: Annotated[RefusalReason, Choice(RefusalReason)]
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True)
class ReportRequest(Message):
    """Coordinator → participants: a round begins. Everyone must get the same bytes: their digest names the round.

    Args:
        run: the run.
        round: its number, from 1, always newer than any before it, whatever its kind.
        kind: what it carries.
        parameters_digest: SHA-256 of the global parameters that come along.
        elements: length of the vector that is summed, in ring elements.
        adverts: of all participants, in ascending order of their labels.
    """

    TYPE: ClassVar[int] = 4
    run: Annotated[bytes, RUN]
    round: Annotated[int, ROUND]
    kind: Annotated[Kind, Choice(Kind)]
    parameters_digest: Annotated[bytes, DIGEST]
    elements: Annotated[int, Number(4, least=1)]
    adverts: Annotated[tuple[Advert, ...], Many(Body(Advert), most=MOST_LABELS)]

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the encoded request (32 bytes): the round's name, which every key and signature of it binds."""
        return hashlib.sha256(self.encode()).digest()


@dataclass(frozen=True, order=True)
class Sealed(Record):
    """A sealed bundle of shares, and the label it is for (in a report) or from (in an unmask request)."""

    label: Annotated[str, Name()]
    box: Annotated[bytes, Blob(most=MOST_BUNDLE_BYTES)] = field(repr=False)


@dataclass(frozen=True)
class Report(Signed):
    """Label → coordinator: my masked vector, and shares of its masks sealed to each other share holder.

    Args:
        run: the run.
        round: the round.
        request: digest of the request that it answers.
        label: who speaks.
        ring_bits: 16, 24 or 32.
        vector: ring elements, little-endian, packed to `ring_bits` each.
        bundles: in ascending order of the recipients.
        signature: Ed25519, by the label's pinned identity key.
    """

    TYPE: ClassVar[int] = 5
    PURPOSE: ClassVar[str] = "report"
    run: Annotated[bytes, RUN]
    round: Annotated[int, ROUND]
    request: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    ring_bits: Annotated[int, Number(1)]
    vector: Annotated[Bytes, Blob(view=True)] = field(repr=False)
    bundles: Annotated[tuple[Sealed, ...], Many(Body(Sealed), most=MOST_LABELS, ascending=True)]
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True)
class CrossCheckRequest(Message):
    """Coordinator → survivors: whose reports are in the sum. Sign that this is what you were told."""

    TYPE: ClassVar[int] = 6
    run: Annotated[bytes, RUN]
    round: Annotated[int, ROUND]
    survivors: Annotated[tuple[str, ...], Many(Name(), most=MOST_LABELS, ascending=True)]


@dataclass(frozen=True)
class CrossCheckSignature(Message):
    """Label → coordinator → share holders: the label's signature over `rounds.Round.survivors_digest`."""

    TYPE: ClassVar[int] = 7
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
class UnmaskRequest(Message):
    """Coordinator → a surviving share holder: the survivors, who signed that set, and the bundles sealed to you."""

    TYPE: ClassVar[int] = 8
    run: Annotated[bytes, RUN]
    round: Annotated[int, ROUND]
    survivors: Annotated[tuple[str, ...], Many(Name(), most=MOST_LABELS, ascending=True)]
    signatures: Annotated[tuple[Signature, ...], Many(Body(Signature), most=MOST_LABELS, ascending=True)]
    bundles: Annotated[tuple[Sealed, ...], Many(Body(Sealed), most=MOST_LABELS, ascending=True)]


@dataclass(frozen=True)
class Shares(Signed):
    """Label → coordinator: the shares that remove the masks, in the order of `rounds.Round.unmasked`.

    Args:
        run: the run.
        round: the round.
        survivors_digest: which survivor set it answers for.
        label: who speaks.
        values: 32 bytes a share.
        signature: Ed25519, by the label's pinned identity key.
    """

    TYPE: ClassVar[int] = 9
    PURPOSE: ClassVar[str] = "shares"
    run: Annotated[bytes, RUN]
    round: Annotated[int, ROUND]
    survivors_digest: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    values: Annotated[bytes, Blob()] = field(repr=False)
    signature: Annotated[bytes, SIGNATURE]


_KINDS: dict[int, type[Message]] = {
    kind.TYPE: kind
    for kind in (
        Announcement,
        Advert,
        Refusal,
        ReportRequest,
        Report,
        CrossCheckRequest,
        CrossCheckSignature,
        UnmaskRequest,
        Shares,
    )
}


def decode(data: Bytes) -> Message:
    """Read a message from another party. A report's vector stays where it lies in `data`, without a copy.

    Raises:
        Malformed: the bytes are not exactly one message in its one canonical form.
    """
    reader = Reader(data)
    try:
        if reader.take(len(MAGIC)) != MAGIC:
            raise ValueError("it does not start like one")
        version, code = reader.number(1), reader.number(1)
        if version != VERSION:
            raise ValueError(f"version {version} is not {VERSION}")
        if code not in _KINDS:
            raise ValueError(f"type {code} is unknown")
        message = _KINDS[code].read(reader)
        reader.finish()
    except (ValueError, LocalProtocolError) as error:
        raise Malformed(f"Bytes are not a message of masked rounds: {error}.") from None
    return message
