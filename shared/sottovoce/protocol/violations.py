"""Every way in which a peer can violate the protocol, each with its own exception.

RemoteProtocolError
├── Malformed               bytes that are not a message in its canonical form
│   └── WrongVersion        a message of a version that this side, or its run, does not speak
├── OutOfOrder              a message that the table of `states` does not allow now
├── WrongRun                a message for another run
├── WrongSession            a message for another set-up of the run
├── WrongRound              a message for another round, or an answer to another request
├── StaleRound              a round that this side has already seen: repeated or replayed
├── UnplannedRound          a round beyond what the run's configuration plans
├── Downgraded              a run in an earlier version than all its members and its coordinator speak
├── WrongAgreement          a run or an advert under another agreement
├── ConfigurationChanged    a configuration other than the announced and signed one
├── WrongParameters         parameters or sums that do not have the run's form
├── UnfollowedParameters    parameters that do not follow from the run's initial ones and sums
├── UnknownLabel            a label that is not in the agreement
├── BadSignature            a signature that does not verify for the named label
├── BadKey                  a public key that is invalid or not canonical
├── WrongNonce              a nonce that does not match its commitment, or is missing
├── TooManyDraws            more set-ups of a run than allowed
├── WrongCiphertexts        ciphertexts that are missing, surplus or from the wrong peers
├── DuplicateParticipant    a label, or a key, that is named twice
├── NotAParticipant         a label that does not take part, or has no role in this step
├── TooFewParticipants      fewer than a round, the agreement or the label's policy needs
├── TooManyParticipants     more than the agreement's rules can protect
├── WrongVector             a masked vector with another ring or length
├── WrongBoxes              sealed shares that are missing or surplus
├── BadSeal                 a sealed share or vault that does not open
├── WrongSurvivors          a survivor set that includes non-participants or leaves out its recipient
├── TooFewSurvivors         a survivor set below the threshold, the agreement's n_min or the label's policy
├── TooFewSignatures        a survivor set with too few signatures
├── Equivocation            contradictory statements about the same thing
└── WrongShares             shares that do not match the request or their tags
RoundAborted
└── ImplausibleSum          a sum that honest labels cannot have produced
"""

from sottovoce.errors import RemoteProtocolError, RoundAborted


class Malformed(RemoteProtocolError):
    """Bytes that are not a message in its canonical form."""


class WrongVersion(Malformed):
    """A message of a version of the protocol that this side does not speak, or that its run does not use."""


class OutOfOrder(RemoteProtocolError):
    """A message that the table of `sottovoce.protocol.states` does not allow now."""


class WrongRun(RemoteProtocolError):
    """A message for another run."""


class WrongSession(RemoteProtocolError):
    """A message for another set-up of the run."""


class WrongRound(RemoteProtocolError):
    """A message for another round, or an answer to another request."""


class StaleRound(RemoteProtocolError):
    """A round that this side has already seen: repeated or replayed."""


class UnplannedRound(RemoteProtocolError):
    """A round beyond what the run's configuration plans."""


class Downgraded(RemoteProtocolError):
    """A run in an earlier version of the protocol than all its members and its coordinator speak."""


class WrongAgreement(RemoteProtocolError):
    """A run or an advert under another agreement."""


class ConfigurationChanged(RemoteProtocolError):
    """A configuration other than the announced and signed one."""


class WrongParameters(RemoteProtocolError):
    """Parameters or sums do not have the run's form."""


class UnfollowedParameters(RemoteProtocolError):
    """Parameters do not follow, bit for bit, from the run's initial ones and the sums of its rounds."""


class UnknownLabel(RemoteProtocolError):
    """A label that is not in the agreement."""


class BadSignature(RemoteProtocolError):
    """A signature that does not verify for the named label."""


class BadKey(RemoteProtocolError):
    """A public key that is invalid or not canonical."""


class WrongNonce(RemoteProtocolError):
    """A nonce that does not match its commitment, or is missing."""


class TooManyDraws(RemoteProtocolError):
    """More set-ups of a run than allowed."""


class WrongCiphertexts(RemoteProtocolError):
    """Ciphertexts that are missing, surplus or from the wrong peers."""


class DuplicateParticipant(RemoteProtocolError):
    """A label, or a key, that is named twice."""


class NotAParticipant(RemoteProtocolError):
    """A label that does not take part, or has no role in this step."""


class TooFewParticipants(RemoteProtocolError):
    """Fewer participants than a round, the agreement or the label's policy needs."""


class TooManyParticipants(RemoteProtocolError):
    """More participants than the agreement's rules can protect."""


class WrongVector(RemoteProtocolError):
    """A masked vector with another ring or length."""


class WrongBoxes(RemoteProtocolError):
    """Sealed shares that are missing or surplus."""


class BadSeal(RemoteProtocolError):
    """A sealed share or vault that does not open."""


class WrongSurvivors(RemoteProtocolError):
    """A survivor set that includes non-participants or leaves out its recipient."""


class TooFewSurvivors(RemoteProtocolError):
    """A survivor set below the threshold, the agreement's n_min or the label's policy."""


class TooFewSignatures(RemoteProtocolError):
    """A survivor set with too few signatures."""


class Equivocation(RemoteProtocolError):
    """Contradictory statements about the same thing."""


class WrongShares(RemoteProtocolError):
    """Shares that do not match the request or their tags."""


class ImplausibleSum(RoundAborted):
    """A sum that honest labels cannot have produced."""
