"""A set-up that all its members have completed, to which every later message of the run is bound."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from sottovoce.federation.agreement import Agreement
from sottovoce.protocol.adverts import Roster as IdentityKeys
from sottovoce.protocol.adverts import check_advert
from sottovoce.protocol.keys import nonce_commitment
from sottovoce.protocol.message import MAGIC
from sottovoce.protocol.messages import Nonces, Reveal, Roster
from sottovoce.protocol.topology import COMMITTEE, Topology
from sottovoce.protocol.violations import (
    BadSignature,
    DuplicateParticipant,
    Malformed,
    TooFewParticipants,
    TooManyParticipants,
    WrongNonce,
    WrongRun,
    WrongSession,
)

SEALED = MAGIC + b"\x02"
"""First bytes of all associated data. The digest after them binds the version of the protocol."""


@dataclass(frozen=True)
class Session:
    """One completed set-up.

    Args:
        run: the run (16 bytes).
        digest: SHA-256 over the roster and all nonces (32 bytes); the seed of all draws.
        members: in ascending order.
        n_min: the agreement's smallest number of survivors.
    """

    run: bytes
    digest: bytes
    members: tuple[str, ...]
    n_min: int

    @classmethod
    def of(cls, roster: Roster, reveals: Iterable[Reveal], n_min: int) -> "Session":
        """The session of a roster and its members' reveals, both checked, in ascending order."""
        hasher = hashlib.sha256(b"sottovoce/2/session\x00" + roster.digest)
        for reveal in reveals:
            hasher.update(reveal.nonce)
        return cls(roster.run, hasher.digest(), tuple(advert.label for advert in roster.adverts), n_min)

    @cached_property
    def topology(self) -> Topology:
        """Partners, share holders and thresholds, for the whole run."""
        return Topology(self.members, self.digest)

    @property
    def least_survivors(self) -> int:
        """Survivors that a round needs: the larger of t and the agreement's n_min."""
        return max(self.topology.threshold, self.n_min)

    def check(self, run: bytes, session: bytes) -> None:
        """Refuse a message that belongs to another run or set-up.

        Raises:
            WrongRun, WrongSession: as their names say.
        """
        if run != self.run:
            raise WrongRun("A message belongs to another run.")
        if session != self.digest:
            raise WrongSession("A message belongs to another set-up of the run.")

    def header(self, purpose: str) -> bytes:
        """Common prefix of associated data of everything sealed in this session."""
        return SEALED + purpose.encode() + b"\x00" + self.digest


def check_roster(
    roster: Roster, *, run: bytes, config_digest: bytes, agreement: Agreement, identities: IdentityKeys
) -> None:
    """Refuse a roster unless it consists of known labels, each with its own signed keys.

    Raises:
        WrongRun, DuplicateParticipant, Malformed, TooFewParticipants, TooManyParticipants, WrongAgreement,
            UnknownLabel, BadSignature, ConfigurationChanged, BadKey: as their names say.
    """
    if roster.run != run:
        raise WrongRun("A roster belongs to another run.")
    labels = [advert.label for advert in roster.adverts]
    for keys in (labels, [a.public_key for a in roster.adverts], [a.encapsulation_key for a in roster.adverts]):
        if len(set(keys)) != len(labels):
            raise DuplicateParticipant("A roster names a label, or a key, twice.")
    if labels != sorted(labels):
        raise Malformed("The members of a roster are not in ascending order.")
    if len(labels) < agreement.n_min:
        raise TooFewParticipants(f"A run has {len(labels)} members; the agreement requires {agreement.n_min}.")
    if len(labels) > COMMITTEE and not agreement.cross_check:
        raise TooManyParticipants(f"A run has {len(labels)} members; above {COMMITTEE} a cross-check is needed.")
    for advert in roster.adverts:
        check_advert(advert, run=run, agreement=agreement.digest, config_digest=config_digest, roster=identities)


def check_reveal(reveal: Reveal, roster: Roster, commitment: bytes, identity_key: bytes) -> None:
    """Refuse a nonce that does not match its commitment, or that was revealed for another roster.

    Raises:
        WrongRun, WrongSession, WrongNonce, BadSignature: as their names say.
    """
    if reveal.run != roster.run:
        raise WrongRun("A nonce belongs to another run.")
    if reveal.roster != roster.digest:
        raise WrongSession(f"'{reveal.label}' revealed its nonce for another roster.")
    if nonce_commitment(reveal.nonce) != commitment:
        raise WrongNonce(f"'{reveal.label}' revealed a nonce that does not match its advert's commitment.")
    if not reveal.is_signed_by(identity_key):
        raise BadSignature(f"The nonce of '{reveal.label}' is not signed by that label.")


def check_nonces(nonces: Nonces, roster: Roster, identities: IdentityKeys) -> None:
    """Refuse nonces that are not exactly those of a roster's members.

    Raises:
        WrongRun, WrongSession, WrongNonce, BadSignature: as their names say.
    """
    if [reveal.label for reveal in nonces.reveals] != [advert.label for advert in roster.adverts]:
        raise WrongNonce("There must be exactly one nonce of each member, in ascending order.")
    if nonces.run != roster.run:
        raise WrongRun("Nonces belong to another run.")
    for reveal, advert in zip(nonces.reveals, roster.adverts, strict=True):
        check_reveal(reveal, roster, advert.commitment, identities[advert.label])
