"""A label as a member of one run: it joins, takes part in the set-up, prepares for rounds, and saves its state.

Every check comes before anything is revealed. Methods change the state only when they succeed.
"""

from typing import Self, TypeVar

from sottovoce.errors import ConfigurationError, LocalProtocolError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.protocol.adverts import roster_of
from sottovoce.protocol.keys import RunKey, nonce_commitment
from sottovoce.protocol.label_setup import encapsulated, paired
from sottovoce.protocol.message import Message
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    Ciphertexts,
    Nonces,
    Pairing,
    Preparation,
    PrepareRequest,
    ReportRequest,
    Reveal,
    Roster,
)
from sottovoce.protocol.pair_keys import PairKeys
from sottovoce.protocol.progress import Idle, Joined, Keyed, Revealed, Seat, Stage
from sottovoce.protocol.ring import Ring
from sottovoce.protocol.saved_state import Saved
from sottovoce.protocol.session import Session, check_roster
from sottovoce.protocol.sharing import prepared
from sottovoce.protocol.states import after
from sottovoce.protocol.topology import MOST_DRAWS, most_corrupt, threshold
from sottovoce.protocol.versions import check_no_downgrade, check_version, marked_nonce
from sottovoce.protocol.violations import (
    Equivocation,
    Malformed,
    NotAParticipant,
    OutOfOrder,
    StaleRound,
    TooFewParticipants,
    TooManyDraws,
    UnplannedRound,
    WrongAgreement,
    WrongRun,
)
from sottovoce.run.configuration import RunConfiguration

S = TypeVar("S", Joined, Revealed, Keyed, Seat)


class Membership:
    """One label in one run. Made by `join` or `from_bytes`; its keys are never printed."""

    def __init__(
        self,
        *,
        identity: Identity,
        agreement: Agreement,
        advert: Advert,
        config: RunConfiguration,
        draws: int,
        stage: Stage,
        least_survivors: int,
        met: int,
    ) -> None:
        self._identity = identity
        self._agreement = agreement
        self._identities = roster_of(agreement)
        self._advert = advert
        self._config = config
        self._ring = Ring(config.ring_bits)
        self._draws = draws
        self._stage = stage
        self._least = least_survivors
        self._met = met

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._advert.label!r}, phase={self._stage.phase.value!r})"

    @classmethod
    def join(
        cls,
        announcement: Announcement,
        *,
        label: str,
        identity: Identity,
        agreement: Agreement,
        epsilon: float,
        delta: float,
        least_survivors: int = 0,
        met: int = 0,
        join_tag: bytes | None = None,
    ) -> tuple[Self, Advert]:
        """Take part in a run, with new keys.

        Args:
            announcement: the run's announcement.
            label: this label's name in the agreement.
            identity: its identity key.
            agreement: the agreement, as the label holds it.
            epsilon: ceiling of its ε over the run, which it publishes.
            delta: δ of that ceiling.
            least_survivors: labels that the label's own policy requires in a sum; the agreement may require more.
            met: newest version of the protocol in which the label has met this coordinator; 0 to accept any.
            join_tag: 6 bytes that stand for this run among all that the label has joined; None for random ones.

        Raises:
            WrongAgreement: the run is under another agreement.
            Malformed: the configuration does not match its digest.
            LocalProtocolError: the agreement pins another identity for this label.
        """
        check_announcement(announcement, label=label, identity=identity, agreement=agreement)
        config = announcement.config
        stage, advert = _advertised(
            identity,
            join_tag,
            version=announcement.version,
            run=announcement.run,
            agreement=announcement.agreement,
            label=label,
            config_digest=announcement.config_digest,
            epsilon=float(epsilon),
            delta=float(delta),
        )
        participant = cls(
            identity=identity,
            agreement=agreement,
            advert=advert,
            config=config,
            draws=0,
            stage=stage,
            least_survivors=least_survivors,
            met=met,
        )
        return participant, advert

    @property
    def advert(self) -> Advert:
        """The advert that this label signed when it joined."""
        return self._advert

    @property
    def config(self) -> RunConfiguration:
        """The run's configuration, as it was announced and signed."""
        return self._config

    @property
    def version(self) -> int:
        """The run's version of the protocol; another set-up of the run may have another one."""
        return self._advert.version

    @property
    def met(self) -> int:
        """Newest version of the protocol in which the label had met the coordinator before; 0 to accept any."""
        return self._met

    @property
    def newest_round(self) -> int:
        """Newest round that this label accepted; 0 before the first, and before the set-up is complete."""
        return self._stage.newest_round if isinstance(self._stage, Seat) else 0

    @property
    def is_set_up(self) -> bool:
        """Whether the set-up is complete, so that the run has a `session`."""
        return isinstance(self._stage, Seat)

    @property
    def session(self) -> Session:
        """The completed set-up of this label's rounds.

        Raises:
            OutOfOrder: the set-up is not complete.
        """
        return self._staged(ReportRequest, Seat).session

    def join_again(self, announcement: Announcement, join_tag: bytes | None = None) -> Advert:
        """Restart the set-up with new keys and a new nonce, since some label did not complete it.

        Args:
            announcement: the run's announcement.
            join_tag: as for `join`, and the same.

        Raises:
            OutOfOrder: the set-up is complete.
            WrongRun: the announcement differs from the one that this label joined.
        """
        after(self._stage.phase, Announcement)
        old = self._advert
        if (announcement.run, announcement.agreement) != (old.run, old.agreement) or (
            announcement.config_bytes != self._config.to_bytes()
        ):
            raise WrongRun("Another run was announced under the id of a run that this label joined.")
        self._stage, self._advert = _advertised(
            self._identity,
            join_tag,
            version=announcement.version,
            run=old.run,
            agreement=old.agreement,
            label=old.label,
            config_digest=old.config_digest,
            epsilon=old.epsilon,
            delta=old.delta,
        )
        return self._advert

    def reveal(self, roster: Roster) -> Reveal:
        """Check the roster, and reveal this label's nonce for it and no other roster.

        Raises:
            OutOfOrder, WrongRun, Malformed, DuplicateParticipant, TooFewParticipants, TooManyParticipants,
            WrongAgreement, UnknownLabel, BadSignature, ConfigurationChanged, BadKey, NotAParticipant, Equivocation,
            TooManyDraws: as their names say.
        """
        stage = self._expected(roster, Joined)
        me = self._advert.label
        check_roster(
            roster,
            run=self._advert.run,
            config_digest=self._advert.config_digest,
            agreement=self._agreement,
            identities=self._identities,
        )
        if len(roster.adverts) < self._least:
            raise TooFewParticipants("This label's policy requires more labels in a sum than the run has.")
        own = [advert for advert in roster.adverts if advert.label == me]
        if not own:
            raise NotAParticipant(f"The roster does not name '{me}', its recipient.")
        if own != [self._advert]:
            raise Equivocation(f"The roster contains an advert of '{me}' that it did not make.")
        count = len(roster.adverts)
        honest = max(threshold(count), self._agreement.n_min, self._least) - max(most_corrupt(count), 1)
        if self._config.distributed and honest < self._config.distributed.min_honest:
            raise TooFewParticipants("A sum of this run's survivors could have less noise than agreed.")
        if self._draws >= MOST_DRAWS:
            raise TooManyDraws(f"This run was set up {MOST_DRAWS} times, the largest number allowed.")
        revealed = Reveal.sign(
            self._identity,
            version=self.version,
            run=roster.run,
            roster=roster.digest,
            label=me,
            nonce=stage.nonce,
        )
        self._draws += 1
        self._stage = Revealed(stage.key, roster)
        return revealed

    def encapsulate(self, nonces: Nonces) -> Ciphertexts:
        """Compute the draw, and make the ciphertexts for this label's peers.

        Raises:
            OutOfOrder, WrongVersion, WrongRun, WrongSession, WrongNonce, BadSignature, BadKey, Downgraded: as their
                names say.
        """
        stage = self._expected(nonces, Revealed)
        me = self._advert.label
        keyed, made = encapsulated(nonces, stage, label=me, identities=self._identities, n_min=self._agreement.n_min)
        check_no_downgrade(self.version, (reveal.nonce for reveal in nonces.reveals), self._met)
        self._stage = keyed
        return Ciphertexts.sign(
            self._identity,
            version=self.version,
            run=nonces.run,
            session=keyed.session.digest,
            label=me,
            ciphertexts=made,
        )

    def pair(self, pairing: Pairing) -> Preparation:
        """Accept the peers' ciphertexts, delete the private keys, and prepare for round 1.

        Raises:
            OutOfOrder, WrongRun, WrongSession, WrongCiphertexts: as their names say.
        """
        stage = self._expected(pairing, Keyed)
        pairs = paired(pairing, stage, label=self._advert.label)
        preparation = self._prepared(pairs, 1)
        self._stage = Seat(pairs, 0, 1, preparation.digest, Idle())
        return preparation

    def prepare(self, request: PrepareRequest) -> Preparation:
        """Prepare for a round for which no report brought a preparation; an older round is abandoned.

        Raises:
            OutOfOrder, WrongRun, WrongSession, StaleRound, UnplannedRound: as their names say.
        """
        seat = self._expected(request, Seat)
        seat.session.check(request.run, request.session)
        self._check_new(request.round, seat)
        pairs = seat.pairs.advanced(request.round)
        preparation = self._prepared(pairs, request.round)
        self._stage = Seat(pairs, request.round - 1, request.round, preparation.digest, Idle())
        return preparation

    def to_bytes(self) -> bytes:
        """Everything the label must save, including private keys: for a file that only its owner can read."""
        return Saved.of(
            config=self._config.to_bytes(), advert=self._advert, draws=self._draws, stage=self._stage
        ).to_bytes()

    @classmethod
    def from_bytes(
        cls, data: bytes, *, identity: Identity, agreement: Agreement, least_survivors: int = 0, met: int = 0
    ) -> Self:
        """Restore the state that `to_bytes` saved.

        Args:
            data: result of `to_bytes`.
            identity: the label's identity.
            agreement: the agreement, as the label holds it.
            least_survivors: labels that its present policy requires in a sum.
            met: as for `join`.

        Raises:
            LocalProtocolError: the bytes are damaged, of another version, or belong to another label or agreement.
        """
        saved = Saved.from_bytes(data)
        try:
            config, stage = RunConfiguration.from_bytes(saved.config), saved.stage(agreement.n_min)
        except (ConfigurationError, Malformed) as error:
            raise LocalProtocolError(
                f"A label's saved state was made by another version: {error}",
                hint="End the run with the release that began it, or abandon it: sottovoce label close RUN",
            ) from None
        if agreement.key_of(saved.advert.label) != identity.public_key or saved.advert.agreement != agreement.digest:
            raise LocalProtocolError("A label's saved state belongs to another label or another agreement.")
        return cls(
            identity=identity,
            agreement=agreement,
            advert=saved.advert,
            config=config,
            draws=saved.draws,
            stage=stage,
            least_survivors=least_survivors,
            met=met,
        )

    def _expected(self, message: Message, kind: type[S]) -> S:
        """The stage of the label, for a message of its run that requires one kind of stage.

        Raises:
            OutOfOrder: the label is in another stage.
            WrongVersion: the message is of another version of the protocol.
        """
        stage = self._staged(type(message), kind)
        check_version(message, self.version)
        return stage

    def _staged(self, message: type[Message], kind: type[S]) -> S:
        """The stage of the label, for a kind of message that requires one kind of stage.

        Raises:
            OutOfOrder: the label is in another stage.
        """
        after(self._stage.phase, message)
        if not isinstance(self._stage, kind):
            raise OutOfOrder(f"A {message.__name__} came while the label is '{self._stage.phase}'.")
        return self._stage

    def _prepared(self, pairs: PairKeys, number: int) -> Preparation:
        return prepared(
            pairs, number, lambda **fields: Preparation.sign(self._identity, version=self.version, **fields)
        )

    def _check_new(self, number: int, seat: Seat) -> None:
        if number <= seat.newest_round:
            raise StaleRound(f"Round {number} was requested, but round {seat.newest_round} has already taken place.")
        if number > self._config.rounds + 1:
            raise UnplannedRound(
                f"The run plans {self._config.rounds} rounds and one evaluation; round {number} is beyond them."
            )


def _advertised(identity: Identity, join_tag: bytes | None, **fields: object) -> tuple[Joined, Advert]:
    """New keys and a new nonce, and their advert."""
    key, nonce = RunKey.generate(), marked_nonce(join_tag)
    advert = Advert.sign(
        identity,
        **fields,
        public_key=key.public,
        encapsulation_key=key.encapsulation,
        commitment=nonce_commitment(nonce),
    )
    return Joined(key, nonce), advert


def check_announcement(announcement: Announcement, *, label: str, identity: Identity, agreement: Agreement) -> None:
    """Refuse a run under another agreement than the label's own; `Participant.join` calls this itself.

    Raises:
        WrongAgreement: the run is under another agreement.
        LocalProtocolError: the agreement pins another identity for this label.
    """
    if agreement.key_of(label) != identity.public_key:
        raise LocalProtocolError(f"The agreement pins another identity key for '{label}'.")
    if announcement.agreement != agreement.digest:
        raise WrongAgreement("The run is under another agreement than this label's.")
