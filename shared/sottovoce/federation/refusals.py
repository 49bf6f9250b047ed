"""Why a label may decline a run: a closed list, so that a refusal tells no private fact."""

from enum import StrEnum


class RefusalReason(StrEnum):
    """What a label says when it declines; it names the rule and never the figure behind it."""

    TASK = "task"
    FAMILY = "family"
    PURPOSE = "purpose"
    PRIVACY = "privacy"  # the run's ε, δ or unit, or that it is not private, is against the policy
    BUDGET = "budget"  # the label's lifetime ε does not leave room for the run
    TRUST = "trust"
    PARTICIPANTS = "participants"
    UNCONFIRMED = "unconfirmed"  # too few of the others are known to be real labels
    ROUNDS = "rounds"
    MODEL_SIZE = "model-size"
    AGREEMENT = "agreement"
    CONFIGURATION = "configuration"
    CATALOGUE = "catalogue"  # nothing here may serve the run
    HOURS = "hours"
    UNAVAILABLE = "unavailable"

    @property
    def explained(self) -> str:
        """The reason in words, for people: what a label of this kind of refusal would have to see changed."""
        return _WORDS[self]


_WORDS = {
    RefusalReason.TASK: "its policy does not allow this task",
    RefusalReason.FAMILY: "its policy does not allow this family of models, or it does not know it",
    RefusalReason.PURPOSE: "its tracks may not serve this purpose",
    RefusalReason.PRIVACY: "its policy wants more privacy than the run gives",
    RefusalReason.BUDGET: "its lifetime budget of ε leaves no room for the run",
    RefusalReason.TRUST: "its policy does not accept what the privacy of the run rests on",
    RefusalReason.PARTICIPANTS: "its policy wants more participants",
    RefusalReason.UNCONFIRMED: "too few of the other labels are confirmed to be real",
    RefusalReason.ROUNDS: "its policy allows fewer rounds",
    RefusalReason.MODEL_SIZE: "its policy allows smaller models only",
    RefusalReason.AGREEMENT: "it holds another agreement",
    RefusalReason.CONFIGURATION: "it cannot compute what the run asks for",
    RefusalReason.CATALOGUE: "it has too few tracks (or artists) that may serve the run",
    RefusalReason.HOURS: "its policy lets no training run at this hour",
    RefusalReason.UNAVAILABLE: "it is not available",
}
