"""The end of a run, signed by the coordinator: a label that gets it leaves the run, and may co-sign its release.

Not part of any round: it is allowed in every phase, and its answer is the same bytes. Its version is the oldest that
the coordinator speaks, whatever the run's: a label that was left behind may have joined in that.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from sottovoce.protocol.encoding import Number
from sottovoce.protocol.message import DIGEST, DIGEST_BYTES, RUN, SIGNATURE, Signed
from sottovoce.protocol.setup_messages import Advert
from sottovoce.protocol.violations import BadSignature, UnplannedRound, WrongAgreement, WrongRound, WrongRun

NO_MODEL = bytes(DIGEST_BYTES)
"""Parameters digest of a run that ends without a model."""


@dataclass(frozen=True)
class RunOver(Signed):
    """Coordinator → label: the run is over; follow it to its last model, if any, and release what you reserved.

    Args:
        run: the run.
        agreement: digest of the agreement that the run is under.
        round: number of the last training round; 0 if none began.
        parameters_digest: digest of the model after that round (`GlobalModel.digest`), or `NO_MODEL`.
        signature: Ed25519, by the coordinator's key that the agreement pins.
    """

    TYPE: ClassVar[int] = 17
    PURPOSE: ClassVar[str] = "run-over"
    run: Annotated[bytes, RUN]
    agreement: Annotated[bytes, DIGEST]
    round: Annotated[int, Number(4)]
    parameters_digest: Annotated[bytes, DIGEST]
    signature: Annotated[bytes, SIGNATURE]

    @property
    def has_model(self) -> bool:
        """Whether the run ended with a model that labels follow and co-sign."""
        return self.parameters_digest != NO_MODEL


def check_over(over: RunOver, *, advert: Advert, rounds: int, newest_round: int) -> None:
    """Refuse the end of another run, or one that contradicts what this label knows of its run.

    Args:
        over: the message, whose signature was checked.
        advert: the label's own advert in the run.
        rounds: number of training rounds that the run plans.
        newest_round: newest round that the label accepted; 0 before the first.

    Raises:
        WrongRun, WrongAgreement: as their names say.
        WrongRound: the run is said to end before a round that has begun, or with a model before its last round.
        UnplannedRound: the run plans fewer rounds.
    """
    if over.run != advert.run:
        raise WrongRun("Another run is said to be over.")
    if over.agreement != advert.agreement:
        raise WrongAgreement("A run under another agreement is said to be over.")
    if over.round > rounds:
        raise UnplannedRound(f"The run plans {rounds} rounds, but is said to be over after round {over.round}.")
    if over.round < min(newest_round, rounds):
        raise WrongRound(f"The run is said to be over after round {over.round}, but round {newest_round} has begun.")
    if over.has_model and over.round < rounds:
        raise WrongRound(f"The run is said to end in a model after round {over.round} of {rounds}.")


def check_signed(over: RunOver, coordinator_key: bytes) -> None:
    """Refuse an end that the coordinator did not sign.

    Raises:
        BadSignature: it is not signed by this key (32 bytes).
    """
    if not over.is_signed_by(coordinator_key):
        raise BadSignature("The end of a run is not signed by the agreement's coordinator.")
