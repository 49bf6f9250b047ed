"""The coordinator's side of a set-up: from adverts to a session that all members completed."""

from sottovoce.errors import LocalProtocolError, RoundAborted
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.adverts import check_advert, check_origin, roster_of
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    Ciphertexts,
    Encapsulated,
    Nonces,
    Pairing,
    Refusal,
    Reveal,
    Roster,
)
from sottovoce.protocol.session import Session, check_reveal
from sottovoce.protocol.topology import COMMITTEE
from sottovoce.protocol.violations import BadSignature, DuplicateParticipant, WrongCiphertexts


class Assembly:
    """One set-up. The aggregator tracks the phases; this holds the verified messages of the labels.

    Args:
        agreement: the federation's agreement.
        announcement: the run's announcement.
    """

    def __init__(self, agreement: Agreement, announcement: Announcement) -> None:
        self._agreement = agreement
        self._announcement = announcement
        self._identities = roster_of(agreement)
        self.adverts: dict[str, Advert] = {}
        self.refusals: dict[str, RefusalReason] = {}
        self.reveals: dict[str, Reveal] = {}
        self._ciphertexts: dict[str, dict[str, bytes]] = {}
        self._roster: Roster | None = None
        self._session: Session | None = None

    @property
    def roster(self) -> Roster:
        """The run's members.

        Raises:
            LocalProtocolError: they are not fixed yet.
        """
        if self._roster is None:
            raise LocalProtocolError("The run's members are not fixed yet.")
        return self._roster

    @property
    def session(self) -> Session:
        """The completed set-up.

        Raises:
            LocalProtocolError: not all nonces are known yet.
        """
        if self._session is None:
            raise LocalProtocolError("The run is not set up yet.")
        return self._session

    def take_advert(self, advert: Advert) -> None:
        """Check and store an advert."""
        check_advert(
            advert,
            run=self._announcement.run,
            agreement=self._announcement.agreement,
            config_digest=self._announcement.config_digest,
            roster=self._identities,
        )
        for other in self.adverts.values():
            if advert.public_key == other.public_key or advert.encapsulation_key == other.encapsulation_key:
                raise DuplicateParticipant(f"'{advert.label}' uses a key that was used before.")
        self.adverts[advert.label] = advert

    def take_refusal(self, refusal: Refusal) -> None:
        """Check and store a refusal."""
        run, agreement = self._announcement.run, self._announcement.agreement
        check_origin(refusal, run=run, agreement=agreement, roster=self._identities)
        self.refusals[refusal.label] = refusal.reason

    def fix_members(self, labels: list[str]) -> Roster:
        """Fix the run's members; later ones are refused.

        Raises:
            RoundAborted: there are too few.
            LocalProtocolError: there are too many for an agreement without cross-check.
        """
        if len(labels) < self._agreement.n_min:
            raise RoundAborted(
                f"Only {len(labels)} labels take part, and the agreement needs {self._agreement.n_min} in each sum."
            )
        if len(labels) > COMMITTEE and not self._agreement.cross_check:
            raise LocalProtocolError(f"Above {COMMITTEE} members the agreement must have cross_check = true.")
        adverts = tuple(self.adverts[label] for label in labels)
        self._roster = Roster(self._announcement.run, adverts, version=self._announcement.version)
        return self._roster

    def take_reveal(self, reveal: Reveal) -> None:
        """Check and store a nonce."""
        check_reveal(reveal, self.roster, self.adverts[reveal.label].commitment, self._identities[reveal.label])
        self.reveals[reveal.label] = reveal

    def close_reveals(self) -> Nonces:
        """All members' nonces, which determine the session."""
        roster = self.roster
        reveals = tuple(self.reveals[advert.label] for advert in roster.adverts)
        self._session = Session.of(roster, reveals, self._agreement.n_min)
        return Nonces(roster.run, reveals, version=roster.version)

    def take_ciphertexts(self, message: Ciphertexts) -> None:
        """Check and store a label's ciphertexts."""
        session, me = self.session, message.label
        session.check(message.run, message.session)
        wanted = tuple(peer for peer in session.topology.peers(me) if session.topology.encapsulates(me, peer))
        if tuple(item.label for item in message.ciphertexts) != wanted:
            raise WrongCiphertexts(f"'{me}' did not send exactly one ciphertext for each peer that needs one.")
        if not message.is_signed_by(self._identities[me]):
            raise BadSignature(f"The ciphertexts of '{me}' are not signed by that label.")
        self._ciphertexts[me] = {item.label: item.ciphertext for item in message.ciphertexts}

    def pairings(self) -> dict[str, Pairing]:
        """For each member, its peers' ciphertexts."""
        session = self.session
        sent: dict[str, list[Encapsulated]] = {label: [] for label in session.members}
        for sender in session.members:
            for recipient, ciphertext in self._ciphertexts[sender].items():
                sent[recipient].append(Encapsulated(sender, ciphertext))
        self._ciphertexts = {}
        version = self._announcement.version
        return {
            label: Pairing(session.run, session.digest, tuple(items), version=version) for label, items in sent.items()
        }
