"""Reasons for which a label may decline a run: a closed list, so that a refusal reveals no private fact."""

from enum import StrEnum


class RefusalReason(StrEnum):
    """Why a label declines; it names the rule, never the figure behind it."""

    TASK = "task"
    FAMILY = "family"
    PURPOSE = "purpose"
    PRIVACY = "privacy"  # the policy forbids the run's ε, δ or unit, or a run without privacy
    BUDGET = "budget"  # too little of the label's lifetime ε is left
    TRUST = "trust"
    PARTICIPANTS = "participants"
    UNCONFIRMED = "unconfirmed"  # too few of the other labels are confirmed
    ROUNDS = "rounds"
    MODEL_SIZE = "model-size"
    AGREEMENT = "agreement"
    CONFIGURATION = "configuration"
    CATALOGUE = "catalogue"  # no usable tracks for the run
    HOURS = "hours"
    UNFOLLOWED = "unfollowed"  # a round's model does not follow from the run's sums
    PROTOCOL = "protocol"  # noted by labels themselves; messages of version 2 do not know this word
    UNAVAILABLE = "unavailable"

    @property
    def explained(self) -> str:
        """The reason in words, for people."""
        return _WORDS[self]


_WORDS = {
    RefusalReason.TASK: "its policy does not allow this task",
    RefusalReason.FAMILY: "its policy or its software version does not allow this family of models",
    RefusalReason.PURPOSE: "its tracks may not be used for this purpose",
    RefusalReason.PRIVACY: "its policy requires more privacy than the run gives",
    RefusalReason.BUDGET: "too little of its lifetime ε is left for the run",
    RefusalReason.TRUST: "its policy does not accept the run's kind of noise",
    RefusalReason.PARTICIPANTS: "its policy requires more participants",
    RefusalReason.UNCONFIRMED: "too few of the other labels are confirmed to be real",
    RefusalReason.ROUNDS: "its policy allows fewer rounds",
    RefusalReason.MODEL_SIZE: "its policy allows smaller models only",
    RefusalReason.AGREEMENT: "it holds another agreement",
    RefusalReason.CONFIGURATION: "it cannot compute what the run asks for",
    RefusalReason.CATALOGUE: "it has too few tracks (or artists) that the run may use",
    RefusalReason.HOURS: "its policy allows no training at this hour",
    RefusalReason.UNFOLLOWED: "the round's model does not follow from the run's initial parameters and sums",
    RefusalReason.PROTOCOL: "all its members speak a newer version of the protocol than it uses",
    RefusalReason.UNAVAILABLE: "it is not available",
}
