"""A label's side of one run: it answers each round once, and unmasks one survivor set or none.

Everything that can be refused is refused before anything is trained, charged or revealed. Methods change the state
only when they succeed. Whoever calls them saves `to_bytes` before an answer leaves, so that a restart forgets nothing.
"""

import os
from dataclasses import dataclass

from sottovoce.errors import ConfigurationError, LocalProtocolError
from sottovoce.federation.agreement import Agreement
from sottovoce.federation.identity import Identity
from sottovoce.protocol.adverts import check_advert, roster_of
from sottovoce.protocol.keys import RunKey, derive
from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    CrossCheckRequest,
    CrossCheckSignature,
    Kind,
    Report,
    ReportRequest,
    Sealed,
    Shares,
    UnmaskRequest,
)
from sottovoce.protocol.prg import SEED_BYTES, add_masks
from sottovoce.protocol.progress import Checked, Idle, Progress, Reported, Reporting
from sottovoce.protocol.ring import Ring, RingArray
from sottovoce.protocol.round_context import Round
from sottovoce.protocol.saved_state import Saved
from sottovoce.protocol.seal import seal
from sottovoce.protocol.shamir import split
from sottovoce.protocol.states import after
from sottovoce.protocol.topology import COMMITTEE
from sottovoce.protocol.unmasking import answer
from sottovoce.protocol.violations import (
    DuplicateParticipant,
    Equivocation,
    Malformed,
    NotAParticipant,
    OutOfOrder,
    StaleRound,
    TooFewParticipants,
    TooManyParticipants,
    WrongAgreement,
    WrongParameters,
    WrongRun,
)
from sottovoce.run.configuration import RunConfiguration


@dataclass(frozen=True)
class AcceptedRound:
    """A round that a label has found in order, before it trains.

    Args:
        round: its number.
        kind: what it carries.
        participants: all labels in it, in ascending order.
        elements: length of the vector to report.
    """

    round: int
    kind: Kind
    participants: tuple[str, ...]
    elements: int


class Participant:
    """One label in one run. Made by `join` or `from_bytes`; its keys never print."""

    def __init__(
        self,
        *,
        identity: Identity,
        agreement: Agreement,
        key: RunKey,
        advert: Advert,
        config: RunConfiguration,
        newest_round: int,
        progress: Progress,
    ) -> None:
        self._identity = identity
        self._agreement = agreement
        self._roster = roster_of(agreement)
        self._key = key
        self._advert = advert
        self._config = config
        self._ring = Ring(config.ring_bits)
        self._newest_round = newest_round
        self._progress = progress
        self._agreed: dict[bytes, bytes] = {}

    def __repr__(self) -> str:
        return f"Participant({self._advert.label!r}, round={self._newest_round}, phase={self._progress.phase.value!r})"

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
    ) -> "tuple[Participant, Advert]":
        """Take part in a run, with a new key.

        Args:
            announcement: the run.
            label: this label's name in the agreement.
            identity: its identity key.
            agreement: as the label holds it.
            epsilon: ceiling of its ε over the run that it promises in public.
            delta: δ of that ceiling.

        Raises:
            WrongAgreement: the run is under another agreement.
            Malformed: the configuration is not what its digest names.
            LocalProtocolError: the identity is not the one that the agreement pins for this label.
        """
        check_announcement(announcement, label=label, identity=identity, agreement=agreement)
        config = announcement.config
        key = RunKey.generate()
        advert = Advert.sign(
            identity,
            run=announcement.run,
            agreement=announcement.agreement,
            label=label,
            public_key=key.public,
            config_digest=announcement.config_digest,
            epsilon=float(epsilon),
            delta=float(delta),
        )
        participant = cls(
            identity=identity,
            agreement=agreement,
            key=key,
            advert=advert,
            config=config,
            newest_round=0,
            progress=Idle(),
        )
        return participant, advert

    @property
    def advert(self) -> Advert:
        """What this label signed when it joined."""
        return self._advert

    @property
    def config(self) -> RunConfiguration:
        """The run's configuration, as it was announced and signed."""
        return self._config

    def accept(self, request: ReportRequest, parameters_digest: bytes) -> AcceptedRound:
        """Check a round before anything is trained or charged; from here on no round of this number or older is.

        Args:
            request: what the coordinator sent.
            parameters_digest: SHA-256 of the parameters that came along, computed by this label.

        Raises:
            OutOfOrder, WrongRun, StaleRound, WrongParameters, Malformed, TooFewParticipants, TooManyParticipants,
            DuplicateParticipant, WrongAgreement, UnknownLabel, BadSignature, ConfigurationChanged, NotAParticipant,
            Equivocation, BadKey: as their names say.
        """
        after(self._progress.phase, ReportRequest)
        if request.run != self._advert.run:
            raise WrongRun("A request is of another run.")
        if request.round <= self._newest_round:
            raise StaleRound(f"Round {request.round} was asked for, but round {self._newest_round} has been already.")
        if request.parameters_digest != parameters_digest:
            raise WrongParameters(f"The parameters of round {request.round} are not those that its request names.")
        self._check_participants(request)
        round_ = Round(request)
        for label in {*round_.topology.partners(self._advert.label), *round_.topology.holders} - {self._advert.label}:
            self._secret(label, round_)
        self._newest_round = request.round
        self._progress = Reporting(round_)
        return AcceptedRound(request.round, request.kind, round_.participants, request.elements)

    def report(self, vector: RingArray) -> Report:
        """Mask a vector, in place: afterwards the array holds the masked one, read-only, and the report refers to it.

        Args:
            vector: `[elements]` of the accepted round, as `VectorLayout.encode` makes it.

        Raises:
            OutOfOrder: no round was accepted, or it was answered already.
            LocalProtocolError: the vector has another type or length.
        """
        after(self._progress.phase, Report)
        if not isinstance(self._progress, Reporting):
            raise OutOfOrder("No round waits for a report.")
        round_ = self._progress.round
        request, me = round_.request, self._advert.label
        if vector.dtype != self._ring.dtype or vector.shape != (request.elements,) or not vector.flags.c_contiguous:
            raise LocalProtocolError(
                f"A vector is {vector.dtype}{list(vector.shape)} instead of {self._ring.dtype}[{request.elements}]."
            )
        self_seed = os.urandom(SEED_BYTES)
        partners = round_.topology.partners(me)
        seeds = {label: self._mask_seed(label, round_) for label in partners}
        add_masks(
            vector,
            plus=[self_seed, *(seeds[label] for label in partners if label > me)],
            minus=[seeds[label] for label in partners if label < me],
        )
        vector.flags.writeable = False
        own, bundles = self._share(round_, b"".join([self_seed, *seeds.values()]))
        report = Report.sign(
            self._identity,
            run=request.run,
            round=request.round,
            request=request.digest,
            label=me,
            ring_bits=self._ring.bits,
            vector=self._ring.pack(vector),
            bundles=bundles,
        )
        self._progress = Reported(round_, own)
        return report

    def cross_check(self, request: CrossCheckRequest) -> CrossCheckSignature:
        """Sign whose reports the coordinator says it has; no other set will be unmasked.

        Raises:
            OutOfOrder, WrongRun, WrongRound, WrongSurvivors, TooFewSurvivors: as their names say.
        """
        after(self._progress.phase, CrossCheckRequest)
        if not isinstance(self._progress, Reported) or not self._agreement.cross_check:
            raise OutOfOrder("A survivor set came to be signed, which this agreement does not do.")
        round_, me = self._progress.round, self._advert.label
        round_.check_answers(request.run, request.round)
        round_.check_survivors(request.survivors, including=me)
        signature = self._identity.sign(purpose="cross-check", message=round_.survivors_digest(request.survivors))
        self._progress = Checked(round_, self._progress.own, request.survivors)
        return CrossCheckSignature(request.run, request.round, me, signature)

    def unmask(self, request: UnmaskRequest) -> Shares:
        """Give the shares that open the sum over one survivor set; then forget them.

        Raises:
            OutOfOrder, WrongRun, WrongRound, WrongSurvivors, TooFewSurvivors, Equivocation, NotAParticipant,
            BadSignature, TooFewSignatures, WrongBundles, BadSeal: as their names say.
        """
        after(self._progress.phase, UnmaskRequest)
        if not isinstance(self._progress, (Reported, Checked)):
            raise OutOfOrder("No round waits to be unmasked.")
        round_, me = self._progress.round, self._advert.label
        round_.check_answers(request.run, request.round)
        if isinstance(self._progress, Checked) and request.survivors != self._progress.survivors:
            raise Equivocation(f"Round {request.round} is to be unmasked for another survivor set than was signed.")
        values = answer(
            request,
            round_,
            label=me,
            own=self._progress.own,
            roster=self._roster if self._agreement.cross_check else None,
            seal_key=lambda sender: self._seal_key(sender, me, round_),
        )
        shares = Shares.sign(
            self._identity,
            run=request.run,
            round=request.round,
            survivors_digest=round_.survivors_digest(request.survivors),
            label=me,
            values=values,
        )
        self._progress = Idle()
        return shares

    def to_bytes(self) -> bytes:
        """Everything the label must remember, private keys among it: for a file that only its owner can read."""
        return Saved.of(
            private_key=self._key.private_bytes(),
            config=self._config.to_bytes(),
            advert=self._advert,
            newest_round=self._newest_round,
            progress=self._progress,
        ).to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes, *, identity: Identity, agreement: Agreement) -> "Participant":
        """Go on where `to_bytes` was called.

        Raises:
            LocalProtocolError: the bytes are damaged, or are another label's or another agreement's.
        """
        saved = Saved.from_bytes(data)
        try:
            config, progress = RunConfiguration.from_bytes(saved.config), saved.progress
        except (ConfigurationError, Malformed) as error:
            raise LocalProtocolError(f"A label's saved state was made by another version: {error}") from None
        if agreement.key_of(saved.advert.label) != identity.public_key or saved.advert.agreement != agreement.digest:
            raise LocalProtocolError("A label's saved state is another label's, or was made under another agreement.")
        return cls(
            identity=identity,
            agreement=agreement,
            key=RunKey.from_bytes(saved.private_key),
            advert=saved.advert,
            config=config,
            newest_round=saved.newest_round,
            progress=progress,
        )

    def _check_participants(self, request: ReportRequest) -> None:
        labels = [advert.label for advert in request.adverts]
        if len(set(labels)) != len(labels) or len({advert.public_key for advert in request.adverts}) != len(labels):
            raise DuplicateParticipant(f"Round {request.round} names a label, or a key, twice.")
        if labels != sorted(labels):
            raise Malformed(f"The participants of round {request.round} are not in ascending order.")
        if len(labels) < self._agreement.n_min:
            raise TooFewParticipants(
                f"Round {request.round} has {len(labels)} participants; the agreement wants {self._agreement.n_min}."
            )
        if len(labels) > COMMITTEE and not self._agreement.cross_check:
            raise TooManyParticipants(
                f"Round {request.round} has {len(labels)} participants; above {COMMITTEE} a cross-check is needed."
            )
        for advert in request.adverts:
            check_advert(
                advert,
                run=self._advert.run,
                agreement=self._advert.agreement,
                config_digest=self._advert.config_digest,
                roster=self._roster,
            )
        own = [advert for advert in request.adverts if advert.label == self._advert.label]
        if not own:
            raise NotAParticipant(f"Round {request.round} does not name '{self._advert.label}', who is asked.")
        if own != [self._advert]:
            raise Equivocation(f"Round {request.round} shows another advert of '{self._advert.label}' than it made.")

    def _share(self, round_: Round, secrets: bytes) -> tuple[bytes, tuple[Sealed, ...]]:
        """This label's own share of its secrets, and everyone else's, sealed."""
        me, holders = self._advert.label, round_.topology.holders
        shares = split(secrets, threshold=round_.topology.share_threshold, holders=len(holders))
        own, bundles = b"", []
        for holder, share in zip(holders, shares, strict=True):
            if holder == me:
                own = share.tobytes()
            else:
                box = seal(self._seal_key(me, holder, round_), share.tobytes(), round_.header(me, holder))
                bundles.append(Sealed(holder, box))
        return own, tuple(bundles)

    def _secret(self, label: str, round_: Round) -> bytes:
        """The X25519 secret with another participant; the same all through a run."""
        public = round_.public_keys[label]
        if public not in self._agreed:
            self._agreed[public] = self._key.agree(public)
        return self._agreed[public]

    def _mask_seed(self, label: str, round_: Round) -> bytes:
        first, second = sorted((self._advert.label, label))
        context = round_.context(first, second)
        return derive(self._secret(label, round_), purpose="mask", run=self._advert.run, context=context)

    def _seal_key(self, sender: str, recipient: str, round_: Round) -> bytes:
        other = recipient if sender == self._advert.label else sender
        context = round_.context(sender, recipient)
        return derive(self._secret(other, round_), purpose="seal", run=self._advert.run, context=context)


def check_announcement(announcement: Announcement, *, label: str, identity: Identity, agreement: Agreement) -> None:
    """Refuse a run that is under another agreement than the label's own; `Participant.join` does so itself.

    Raises:
        WrongAgreement: the run is under another agreement.
        LocalProtocolError: the identity is not the one that the agreement pins for this label.
    """
    if agreement.key_of(label) != identity.public_key:
        raise LocalProtocolError(f"The agreement pins another identity key for '{label}'.")
    if announcement.agreement != agreement.digest:
        raise WrongAgreement("The run is under another agreement than the one this label holds.")
