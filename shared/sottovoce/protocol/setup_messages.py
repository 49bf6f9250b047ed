"""Messages of a set-up: versions, announcement, adverts, the draw by commit and reveal, ciphertexts."""

import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, ClassVar, Self

from sottovoce.errors import ConfigurationError, LocalProtocolError
from sottovoce.federation.agreement import MOST_LABELS, Agreement
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.encoding import Blob, Body, Choice, Many, Name, Number, Real, Record
from sottovoce.protocol.message import (
    CIPHERTEXT,
    DIGEST,
    ENCAPSULATION_KEY,
    KEY,
    ROUND,
    RUN,
    RUN_BYTES,
    SECRET,
    SIGNATURE,
    UNVERSIONED,
    VERSION,
    Message,
    Signed,
)
from sottovoce.protocol.violations import Malformed
from sottovoce.run.configuration import RunConfiguration

MOST_CONFIG_BYTES = 2**16
VERSION_NUMBER = Number(1, least=1)


@dataclass(frozen=True)
class VersionsRequest(Message):
    """Coordinator → label: which versions of the protocol do you speak?"""

    TYPE: ClassVar[int] = 18
    version: int = field(default=UNVERSIONED, kw_only=True)
    run: Annotated[bytes, RUN]
    agreement: Annotated[bytes, DIGEST]


@dataclass(frozen=True)
class Versions(Signed):
    """Label → coordinator: in this run I speak all versions from `oldest`, which my policy may raise, to `newest`.

    Args:
        run: the run.
        agreement: digest of the agreement, as the label holds it.
        label: the sender.
        oldest: the oldest version.
        newest: the newest version.
        signature: Ed25519, by the label's pinned identity key.
    """

    TYPE: ClassVar[int] = 19
    PURPOSE: ClassVar[str] = "versions"
    version: int = field(default=UNVERSIONED, kw_only=True)
    run: Annotated[bytes, RUN]
    agreement: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    oldest: Annotated[int, VERSION_NUMBER]
    newest: Annotated[int, VERSION_NUMBER]
    signature: Annotated[bytes, SIGNATURE]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.oldest > self.newest:
            raise LocalProtocolError(f"A label cannot speak versions {self.oldest} to {self.newest}.")


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
    def of(cls, agreement: Agreement, config: RunConfiguration, *, version: int = VERSION) -> Self:
        """A new run of this configuration, with an id from the operating system's randomness."""
        return cls(os.urandom(RUN_BYTES), agreement.digest, config.digest, config.to_bytes(), version=version)

    @cached_property
    def config(self) -> RunConfiguration:
        """The configuration.

        Raises:
            Malformed: it cannot be read, is not in canonical form, or does not match its digest.
        """
        try:
            config = RunConfiguration.from_bytes(self.config_bytes)
        except ConfigurationError as error:
            raise Malformed(f"An announcement's configuration cannot be read: {error}") from None
        if config.to_bytes() != self.config_bytes or config.digest != self.config_digest:
            raise Malformed("An announcement's configuration does not match its digest.")
        return config


@dataclass(frozen=True)
class Advert(Signed):
    """Label → coordinator → all: I take part in this run, with this configuration and these keys.

    Args:
        run: the run.
        agreement: digest of the agreement, as the label holds it.
        label: the sender.
        public_key: X25519 public key, made for this advert.
        encapsulation_key: ML-KEM-768 encapsulation key, made for this advert.
        commitment: to the nonce that the label adds to the draw (`keys.nonce_commitment`).
        config_digest: digest of the configuration.
        epsilon: ceiling of the label's ε over the run, which it publishes; infinite for a run without privacy.
        delta: δ of that ceiling.
        signature: Ed25519, by the label's pinned identity key.
    """

    TYPE: ClassVar[int] = 2
    PURPOSE: ClassVar[str] = "advert"
    run: Annotated[bytes, RUN]
    agreement: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    public_key: Annotated[bytes, KEY]
    encapsulation_key: Annotated[bytes, ENCAPSULATION_KEY] = field(repr=False)
    commitment: Annotated[bytes, DIGEST]
    config_digest: Annotated[bytes, DIGEST]
    epsilon: Annotated[float, Real(least=0.0, most=math.inf)]
    delta: Annotated[float, Real(least=0.0, most=1.0)]
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True)
class Refusal(Signed):
    """Label → coordinator: I decline this run; the reason reveals no private fact."""

    TYPE: ClassVar[int] = 3
    PURPOSE: ClassVar[str] = "refusal"
    run: Annotated[bytes, RUN]
    agreement: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    reason: Annotated[RefusalReason, Choice(RefusalReason)]
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True)
class Roster(Message):
    """Coordinator → members: the run's members, fixed before any nonce is revealed.

    Args:
        run: the run.
        adverts: adverts of all members, in ascending order of their labels.
    """

    TYPE: ClassVar[int] = 4
    run: Annotated[bytes, RUN]
    adverts: Annotated[tuple[Advert, ...], Many(Body(Advert), most=MOST_LABELS)]


@dataclass(frozen=True)
class Reveal(Signed):
    """Label → coordinator → members: the nonce that my advert commits to, for this roster and no other."""

    TYPE: ClassVar[int] = 5
    PURPOSE: ClassVar[str] = "reveal"
    run: Annotated[bytes, RUN]
    roster: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    nonce: Annotated[bytes, SECRET]
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True)
class Nonces(Message):
    """Coordinator → members: all nonces, from which every member computes the same draw.

    Args:
        run: the run.
        reveals: one of each member, in ascending order of their labels.
    """

    TYPE: ClassVar[int] = 6
    run: Annotated[bytes, RUN]
    reveals: Annotated[tuple[Reveal, ...], Many(Body(Reveal), most=MOST_LABELS)]


@dataclass(frozen=True, order=True)
class Encapsulated(Record):
    """An ML-KEM-768 ciphertext, and the label it is for (from a label) or from (to a label)."""

    label: Annotated[str, Name()]
    ciphertext: Annotated[bytes, CIPHERTEXT] = field(repr=False)


@dataclass(frozen=True)
class Ciphertexts(Signed):
    """Label → coordinator: a ciphertext for each peer for which this label has to encapsulate."""

    TYPE: ClassVar[int] = 7
    PURPOSE: ClassVar[str] = "ciphertexts"
    run: Annotated[bytes, RUN]
    session: Annotated[bytes, DIGEST]
    label: Annotated[str, Name()]
    ciphertexts: Annotated[tuple[Encapsulated, ...], Many(Body(Encapsulated), most=MOST_LABELS, ascending=True)]
    signature: Annotated[bytes, SIGNATURE]


@dataclass(frozen=True)
class Pairing(Message):
    """Coordinator → label: the ciphertexts that its peers made for it. It answers with a `Preparation` of round 1."""

    TYPE: ClassVar[int] = 8
    run: Annotated[bytes, RUN]
    session: Annotated[bytes, DIGEST]
    ciphertexts: Annotated[tuple[Encapsulated, ...], Many(Body(Encapsulated), most=MOST_LABELS, ascending=True)]


@dataclass(frozen=True)
class PrepareRequest(Message):
    """Coordinator → label: prepare for this round, since none of your reports brought a preparation for it."""

    TYPE: ClassVar[int] = 10
    run: Annotated[bytes, RUN]
    session: Annotated[bytes, DIGEST]
    round: Annotated[int, ROUND]
