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
    ROUNDS = "rounds"
    MODEL_SIZE = "model-size"
    AGREEMENT = "agreement"
    CONFIGURATION = "configuration"
    CATALOGUE = "catalogue"  # nothing here may serve the run
    UNAVAILABLE = "unavailable"
