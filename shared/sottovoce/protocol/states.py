"""Which message may follow which: one table for both roles.

It describes the conversation between the coordinator and one label. A participant keeps its own phase; the aggregator
keeps one for every label. This module does not know which role uses it.

    INVITED ─Advert→ JOINED ─Roster→ REVEALING ─Reveal→ REVEALED ─Nonces→ ENCAPSULATING ─Ciphertexts→ KEYED
       └─Refusal→ DECLINED                                                                          │ Pairing
                                                                              IDLE ←─Preparation─ PREPARING

    IDLE ─ReportRequest→ REPORTING ─Report→ REPORTED ─CrossCheckRequest→ CHECKING
      ↑                                        │                           │ CrossCheckSignature
      └────Shares── UNMASKING ←─UnmaskRequest──┴──────────────────────── CHECKED

An Announcement is allowed until a set-up is complete: it restarts the set-up, with new keys and nonces. A ReportRequest
or a PrepareRequest is allowed from any later phase: it abandons an older round. An UnmaskRequest directly after the
report is allowed for agreements without cross-check; with cross-check, the signatures sent along must suffice (see
`participant`).
"""

from enum import StrEnum

from sottovoce.protocol.messages import (
    Advert,
    Announcement,
    Ciphertexts,
    CrossCheckRequest,
    CrossCheckSignature,
    Message,
    Nonces,
    Pairing,
    Preparation,
    PrepareRequest,
    Refusal,
    Report,
    ReportRequest,
    Reveal,
    Roster,
    Shares,
    UnmaskRequest,
)
from sottovoce.protocol.violations import OutOfOrder


class Phase(StrEnum):
    """Phase of the conversation between the coordinator and one label."""

    INVITED = "invited"
    DECLINED = "declined"
    JOINED = "joined"
    REVEALING = "revealing"
    REVEALED = "revealed"
    ENCAPSULATING = "encapsulating"
    KEYED = "keyed"
    PREPARING = "preparing"
    IDLE = "idle"
    REPORTING = "reporting"
    REPORTED = "reported"
    CHECKING = "checking"
    CHECKED = "checked"
    UNMASKING = "unmasking"


_AGAIN: dict[type[Message], Phase] = {Announcement: Phase.INVITED}
_NEWER: dict[type[Message], Phase] = {ReportRequest: Phase.REPORTING, PrepareRequest: Phase.PREPARING}

TRANSITIONS: dict[Phase, dict[type[Message], Phase]] = {
    Phase.INVITED: {Advert: Phase.JOINED, Refusal: Phase.DECLINED, **_AGAIN},
    Phase.DECLINED: {},
    Phase.JOINED: {Roster: Phase.REVEALING, **_AGAIN},
    Phase.REVEALING: {Reveal: Phase.REVEALED, **_AGAIN},
    Phase.REVEALED: {Nonces: Phase.ENCAPSULATING, **_AGAIN},
    Phase.ENCAPSULATING: {Ciphertexts: Phase.KEYED, **_AGAIN},
    Phase.KEYED: {Pairing: Phase.PREPARING, **_AGAIN},
    Phase.PREPARING: {Preparation: Phase.IDLE, **_NEWER},
    Phase.IDLE: _NEWER,
    Phase.REPORTING: {Report: Phase.REPORTED, **_NEWER},
    Phase.REPORTED: {CrossCheckRequest: Phase.CHECKING, UnmaskRequest: Phase.UNMASKING, **_NEWER},
    Phase.CHECKING: {CrossCheckSignature: Phase.CHECKED, **_NEWER},
    Phase.CHECKED: {UnmaskRequest: Phase.UNMASKING, **_NEWER},
    Phase.UNMASKING: {Shares: Phase.IDLE, **_NEWER},
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
