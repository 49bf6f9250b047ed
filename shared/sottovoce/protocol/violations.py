"""What a peer can do wrong in a masked round, each wrong with a name of its own.

RemoteProtocolError
├── Malformed               bytes that are no message, or not its one canonical form
├── OutOfOrder              a message that the table of `states` does not allow now
├── WrongRun                a message of another run
├── WrongSession            a message of another set-up of the run
├── WrongRound              a message of another round, or that answers another request
├── StaleRound              a round that this side has already seen: repeated or replayed
├── UnplannedRound          a round beyond what the run's configuration plans
├── WrongAgreement          a run or an advert under another agreement
├── ConfigurationChanged    another configuration than the one that was announced and signed
├── WrongParameters         other parameters than the request names
├── UnknownLabel            a label that the agreement does not name
├── BadSignature            a signature that is not the named label's over these bytes
├── BadKey                  a public key that gives no secret, or has a second form
├── WrongNonce              a nonce that its label did not commit to, or none
├── TooManyDraws            one more set-up of a run than its bound allows for
├── WrongCiphertexts        ciphertexts that are missing, too many or of the wrong peers
├── DuplicateParticipant    a label, or a key, that is named twice
├── NotAParticipant         a label that does not take part, or is not asked in this step
├── TooFewParticipants      fewer than a round, the agreement or the label's policy needs
├── TooManyParticipants     more than the agreement's rules can protect
├── WrongVector             a masked vector of another ring or length
├── WrongBoxes              sealed shares that are missing or too many
├── BadSeal                 a sealed share or vault that does not open
├── WrongSurvivors          a survivor set that goes beyond the participants or leaves out who is asked
├── TooFewSurvivors         a survivor set below the threshold, the agreement's n_min or the label's policy
├── TooFewSignatures        a survivor set that too few have signed
├── Equivocation            two stories told about one thing
└── WrongShares             shares that do not fit the question, or their tags
RoundAborted
└── ImplausibleSum          a sum that honest labels cannot have added up to
"""

from sottovoce.errors import RemoteProtocolError, RoundAborted


class Malformed(RemoteProtocolError):
    """Bytes that are no message, or not its one canonical form."""


class OutOfOrder(RemoteProtocolError):
    """A message that the table of `sottovoce.protocol.states` does not allow now."""


class WrongRun(RemoteProtocolError):
    """A message of another run."""


class WrongSession(RemoteProtocolError):
    """A message of another set-up of the run."""


class WrongRound(RemoteProtocolError):
    """A message of another round, or one that answers another request."""


class StaleRound(RemoteProtocolError):
    """A round that this side has already seen: repeated or replayed."""


class UnplannedRound(RemoteProtocolError):
    """A round beyond what the run's configuration plans."""


class WrongAgreement(RemoteProtocolError):
    """A run or an advert under another agreement."""


class ConfigurationChanged(RemoteProtocolError):
    """Another configuration than the one that was announced and signed."""


class WrongParameters(RemoteProtocolError):
    """Other parameters than the request names."""


class UnknownLabel(RemoteProtocolError):
    """A label that the agreement does not name."""


class BadSignature(RemoteProtocolError):
    """A signature that is not the named label's over these bytes."""


class BadKey(RemoteProtocolError):
    """A public key that gives no secret, or has a second form."""


class WrongNonce(RemoteProtocolError):
    """A nonce that its label did not commit to, or none."""


class TooManyDraws(RemoteProtocolError):
    """One more set-up of a run than its bound allows for."""


class WrongCiphertexts(RemoteProtocolError):
    """Ciphertexts that are missing, too many or of the wrong peers."""


class DuplicateParticipant(RemoteProtocolError):
    """A label, or a key, that is named twice."""


class NotAParticipant(RemoteProtocolError):
    """A label that does not take part, or is not asked in this step."""


class TooFewParticipants(RemoteProtocolError):
    """Fewer participants than a round, the agreement or the label's policy needs."""


class TooManyParticipants(RemoteProtocolError):
    """More participants than the agreement's rules can protect."""


class WrongVector(RemoteProtocolError):
    """A masked vector of another ring or length."""


class WrongBoxes(RemoteProtocolError):
    """Sealed shares that are missing or too many."""


class BadSeal(RemoteProtocolError):
    """A sealed share or vault that does not open."""


class WrongSurvivors(RemoteProtocolError):
    """A survivor set that goes beyond the participants, or leaves out who is asked."""


class TooFewSurvivors(RemoteProtocolError):
    """A survivor set below the threshold, the agreement's n_min or the label's policy."""


class TooFewSignatures(RemoteProtocolError):
    """A survivor set that too few labels have signed."""


class Equivocation(RemoteProtocolError):
    """Two stories told about one thing."""


class WrongShares(RemoteProtocolError):
    """Shares that do not fit the question, or their tags."""


class ImplausibleSum(RoundAborted):
    """A sum that honest labels cannot have added up to."""
