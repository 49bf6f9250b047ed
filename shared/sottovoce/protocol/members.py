"""What a coordinator keeps of a run between rounds: the set-up, prepared members, liars."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from sottovoce.errors import LocalProtocolError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.refusals import RefusalReason
from sottovoce.protocol.adverts import roster_of
from sottovoce.protocol.assembly import Assembly
from sottovoce.protocol.evidence import Evidence
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    Ciphertexts,
    Message,
    Nonces,
    Pairing,
    Preparation,
    PrepareRequest,
    Refusal,
    Reveal,
    Roster,
)
from sottovoce.protocol.ring import Ring
from sottovoce.protocol.session import Session
from sottovoce.protocol.sharing import boxes_of, vault_bytes
from sottovoce.protocol.states import Phase, after
from sottovoce.protocol.violations import BadSignature, NotAParticipant, WrongAgreement, WrongBoxes, WrongRound
from sottovoce.run.configuration import RunConfiguration


class Members:
    """The members of one run, as the coordinator sees them.

    Args:
        agreement: the federation's agreement.
        announcement: the run's announcement.

    Raises:
        WrongAgreement: the announcement names another agreement.
        Malformed: its configuration does not match its digest.
    """

    def __init__(self, agreement: Agreement, announcement: Announcement) -> None:
        if announcement.agreement != agreement.digest:
            raise WrongAgreement("The announcement names another agreement.")
        self._agreement = agreement
        self._announcement = announcement
        self._config = announcement.config
        self._ring = Ring(self._config.ring_bits)
        self._identities = roster_of(agreement)
        self._phases: dict[str, Phase] = dict.fromkeys(self._identities, Phase.INVITED)
        self._assembly = Assembly(agreement, announcement)
        self._preparations: dict[str, Preparation] = {}
        self._evidence = Evidence(len(agreement.members))
        self._left_out: set[str] = set()
        self._newest_round = 0

    @property
    def agreement(self) -> Agreement:
        """The federation's agreement."""
        return self._agreement

    @property
    def announcement(self) -> Announcement:
        """The run's announcement to every label."""
        return self._announcement

    @property
    def nonces(self) -> Mapping[str, bytes]:
        """Nonces that members have revealed in the present set-up."""
        return {label: reveal.nonce for label, reveal in self._assembly.reveals.items()}

    @property
    def config(self) -> RunConfiguration:
        """The run's configuration."""
        return self._config

    @property
    def adverts(self) -> Mapping[str, Advert]:
        """Adverts of the labels that joined."""
        return dict(self._assembly.adverts)

    @property
    def refusals(self) -> Mapping[str, RefusalReason]:
        """Labels that declined, and why."""
        return dict(self._assembly.refusals)

    @property
    def session(self) -> Session:
        """The set-up.

        Raises:
            LocalProtocolError: it is not complete yet.
        """
        return self._assembly.session

    @property
    def liars(self) -> Mapping[str, str]:
        """Labels that lied in this run, with the proof in words; see `evidence`."""
        return self._evidence.liars

    @property
    def disputes(self) -> tuple[tuple[str, str], ...]:
        """Pairs of labels of which one lied; it is unknown which."""
        return self._evidence.disputes

    @property
    def left_out(self) -> tuple[str, ...]:
        """Members that are no longer asked, in ascending order."""
        return tuple(sorted(self._left_out))

    def leave_out(self, label: str) -> None:
        """Stop asking a member in this run; every later request names it, so that all can see it."""
        self._left_out.add(label)

    def announced_in(self, version: int) -> Announcement:
        """Choose the run's version of the protocol, before any label has answered; return the announcement."""
        self._announcement = replace(self._announcement, version=version)
        self._assembly = Assembly(self._agreement, self._announcement)
        return self._announcement

    def start_again(self, *, without: Iterable[str], version: int | None = None) -> Announcement:
        """Restart the set-up among the labels that joined, since some did not complete it.

        All of them make new keys and nonces: a nonce that was revealed is never used for another draw. A label takes
        part in at most 16 draws of a run.

        Args:
            without: labels to leave out.
            version: the protocol's version, or None to keep it.

        Returns:
            The announcement, for all other labels that joined.
        """
        joined, refusals = self._assembly.adverts.keys() - set(without), self._assembly.refusals
        self.announced_in(version or self._announcement.version)
        self._assembly.refusals = refusals
        for label in self._identities:
            self._phases[label] = Phase.INVITED if label in joined else Phase.DECLINED
        return self._announcement

    def fix_members(self, labels: Iterable[str] | None = None) -> dict[str, Roster]:
        """Fix the run's members; return the roster for each of them.

        Args:
            labels: labels that joined; default: all.

        Raises:
            RoundAborted: fewer than the agreement's `n_min`.
            LocalProtocolError: one has not joined, or they are too many for an agreement without cross-check.
        """
        members = sorted(self._assembly.adverts if labels is None else set(labels))
        absent = [label for label in members if label not in self._assembly.adverts]
        if absent:
            raise LocalProtocolError(f"'{absent[0]}' has not joined the run.")
        roster = self._assembly.fix_members(members)
        self._evidence = Evidence(len(members))
        for label in members:
            self._move(label, Roster)
        return dict.fromkeys(members, roster)

    @property
    def missing(self) -> tuple[str, ...]:
        """Members that have not answered the set-up's present step."""
        waiting = (Phase.REVEALING, Phase.ENCAPSULATING)
        return tuple(advert.label for advert in self._assembly.roster.adverts if self._phases[advert.label] in waiting)

    def close_reveals(self) -> dict[str, Nonces]:
        """The nonces for each member, once all have revealed theirs.

        Raises:
            LocalProtocolError: some are `missing`.
        """
        self._complete()
        nonces = self._assembly.close_reveals()
        for label in self.session.members:
            self._move(label, Nonces)
        return dict.fromkeys(self.session.members, nonces)

    def close_ciphertexts(self) -> dict[str, Pairing]:
        """The ciphertexts for each member, once all have made theirs. One that never answers stays out of rounds.

        Raises:
            LocalProtocolError: some are `missing`.
        """
        self._complete()
        for label in self.session.members:
            self._move(label, Pairing)
        return self._assembly.pairings()

    def setup_messages(self) -> tuple[bytes, ...]:
        """What a restarted coordinator passes to `restore`: the members' adverts, then their reveals."""
        members = self.session.members
        kept: list[Message] = [self._assembly.adverts[label] for label in members]
        return tuple(message.encode() for message in (*kept, *(self._assembly.reveals[label] for label in members)))

    def restore(self, messages: Iterable[Message], newest_round: int) -> None:
        """Resume a completed set-up; every member has to prepare again.

        Args:
            messages: from `setup_messages`.
            newest_round: number of the newest round that began.

        Raises:
            RemoteProtocolError: they are damaged.
        """
        kept = list(messages)
        self.announced_in(kept[0].version if kept else self._announcement.version)
        for message in kept:
            if isinstance(message, Advert):
                self._first(message, self._assembly.take_advert)
        self.fix_members()
        for message in kept:
            if isinstance(message, Reveal):
                self._in_setup(message, self._assembly.take_reveal)
        self.close_reveals()
        for label in self.session.members:
            self._phases[label] = Phase.IDLE
        self._newest_round = newest_round

    def ready(self, number: int) -> tuple[str, ...]:
        """Members that can take part in a round: prepared for it, not left out, and not in dispute over a key."""
        prepared = {
            label: preparation
            for label, preparation in self._preparations.items()
            if preparation.round == number and label not in self._left_out
        }
        apart: set[str] = set()
        for pair in self._disagreeing(prepared):
            self._evidence.dispute(*pair)
        for pair in self._disagreeing(prepared):
            apart |= self.liars.keys() & pair or pair
        return tuple(sorted(prepared.keys() - apart))

    def _disagreeing(self, prepared: Mapping[str, Preparation]) -> list[set[str]]:
        """Pairs whose tags of their common key differ."""
        partners = self.session.topology.partners
        tags = {label: dict(zip(partners(label), item.tags, strict=True)) for label, item in prepared.items()}
        return [
            {label, partner}
            for label, known in tags.items()
            for partner, tag in known.items()
            if partner in tags and tags[partner][label] != tag
        ]

    def prepare_requests(self, number: int) -> dict[str, PrepareRequest]:
        """Requests to members that have not prepared for a round and are not left out."""
        session = self.session
        unprepared = [
            label
            for label in session.members
            if label not in self._left_out
            and (label not in self._preparations or self._preparations[label].round != number)
        ]
        for label in unprepared:
            self._move(label, PrepareRequest)
        return dict.fromkeys(
            unprepared, PrepareRequest(session.run, session.digest, number, version=self._announcement.version)
        )

    def _first(self, message: Advert | Refusal, take: Callable[..., None]) -> None:
        """Accept an answer to the announcement, after checking its sender."""
        if message.label in self._phases:
            after(self._phases[message.label], type(message))
        take(message)
        self._move(message.label, type(message))

    def _in_setup(self, message: Reveal | Ciphertexts | Preparation, take: Callable[..., None]) -> None:
        """Accept a later answer of a member."""
        if message.label not in self._phases:
            raise NotAParticipant(f"'{message.label}' takes no part in the run.")
        after(self._phases[message.label], type(message))
        take(message)
        self._move(message.label, type(message))

    def _take_preparation(self, preparation: Preparation) -> None:
        if preparation.round <= self._newest_round:
            raise WrongRound(f"'{preparation.label}' prepares for a round that is over.")
        self._check_preparation(preparation)
        self._preparations[preparation.label] = preparation

    def _check_preparation(self, preparation: Preparation) -> None:
        session, label = self.session, preparation.label
        session.check(preparation.run, preparation.session)
        partners = len(session.topology.partners(label))
        if (
            len(preparation.boxes) != boxes_of(label, session)
            or len(preparation.tags) != partners
            or len(preparation.vault) != vault_bytes(partners)
        ):
            raise WrongBoxes(
                f"The preparation of '{label}' does not contain a share for each holder and a key for each partner."
            )
        if not preparation.is_signed_by(self._identities[label]):
            raise BadSignature(f"The preparation of '{label}' is not signed by that label.")

    def _complete(self) -> None:
        if self.missing:
            raise LocalProtocolError(f"'{self.missing[0]}' has not completed this step of the set-up.")

    def _move(self, label: str, message: type[Message]) -> None:
        self._phases[label] = after(self._phases[label], message)
