"""Who may say what when: one table for both roles.

It describes the conversation between the coordinator and one label. A participant keeps the phase of its own; the
aggregator keeps one for every label. This file does not know which role asks.

    INVITED ─Advert→ IDLE ─ReportRequest→ REPORTING ─Report→ REPORTED ─CrossCheckRequest→ CHECKING
       └─Refusal→ DECLINED   ↑                                  │                        │ CrossCheckSignature
                             └──Shares── UNMASKING ←─UnmaskRequest──────────────────── CHECKED

A ReportRequest is allowed from any phase of a run: it opens a newer round and gives the old one up. An UnmaskRequest
straight after the report is what an agreement without cross-check does; with it, the signatures that come along must
do (see `participant`).
"""

from enum import StrEnum

from sottovoce.protocol.messages import (
    Advert,
    CrossCheckRequest,
    CrossCheckSignature,
    Message,
    Refusal,
    Report,
    ReportRequest,
    Shares,
    UnmaskRequest,
)
from sottovoce.protocol.violations import OutOfOrder


class Phase(StrEnum):
    """Where the conversation between the coordinator and one label stands."""

    INVITED = "invited"
    DECLINED = "declined"
    IDLE = "idle"
    REPORTING = "reporting"
    REPORTED = "reported"
    CHECKING = "checking"
    CHECKED = "checked"
    UNMASKING = "unmasking"


TRANSITIONS: dict[Phase, dict[type[Message], Phase]] = {
    Phase.INVITED: {Advert: Phase.IDLE, Refusal: Phase.DECLINED},
    Phase.DECLINED: {},
    Phase.IDLE: {ReportRequest: Phase.REPORTING},
    Phase.REPORTING: {Report: Phase.REPORTED, ReportRequest: Phase.REPORTING},
    Phase.REPORTED: {
        CrossCheckRequest: Phase.CHECKING,
        UnmaskRequest: Phase.UNMASKING,
        ReportRequest: Phase.REPORTING,
    },
    Phase.CHECKING: {CrossCheckSignature: Phase.CHECKED, ReportRequest: Phase.REPORTING},
    Phase.CHECKED: {UnmaskRequest: Phase.UNMASKING, ReportRequest: Phase.REPORTING},
    Phase.UNMASKING: {Shares: Phase.IDLE, ReportRequest: Phase.REPORTING},
}


def after(phase: Phase, message: type[Message]) -> Phase:
    """The phase that a message leads to.

    Raises:
        OutOfOrder: the message is not allowed in this phase.
    """
    try:
        return TRANSITIONS[phase][message]
    except KeyError:
        raise OutOfOrder(f"A {message.__name__} came in phase '{phase}', which does not allow it.") from None
