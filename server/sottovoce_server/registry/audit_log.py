"""The audit log: who did what to which model, and when. The service only appends to it."""

import time
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from sottovoce_server.registry.schema import Event
from sottovoce_server.registry.tokens import Caller

OPERATOR = Caller()
"""Anybody with a shell on the registry's machine."""


class Action(StrEnum):
    """Kinds of entries."""

    DOWNLOAD = "download"
    PUBLISH = "publish"
    REJECT = "reject"
    COSIGN = "cosign"
    VISIBILITY = "visibility"
    WITHDRAW = "withdraw"
    TOKEN_CREATE = "token-create"  # noqa: S105 - the name of an action
    TOKEN_REVOKE = "token-revoke"  # noqa: S105 - the name of an action
    REFUSE = "refuse"


def record(session: Session, action: Action, caller: Caller, subject: str) -> None:
    """Append an entry. For downloads, no address is stored."""
    address = None if action is Action.DOWNLOAD else caller.address
    session.add(Event(time=int(time.time()), action=action, token=caller.token, subject=subject[:160], address=address))


def latest(session: Session, limit: int) -> list[Event]:
    """The last lines, oldest first."""
    return list(session.scalars(select(Event).order_by(Event.id.desc()).limit(limit)))[::-1]
