"""Access tokens: 256 random bits, stored only as a digest, with scopes and an expiry.

The secret is random rather than chosen by a person, so one SHA-256 suffices: there is no dictionary to try.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from sottovoce.errors import ConfigurationError
from sottovoce.federation.agreement import NAME
from sottovoce_server.registry.schema import Token

SHAPE = re.compile(r"sottovoce_([0-9a-f]{16})_([0-9a-f]{64})")
MOST_MODELS = 100


class Scope(StrEnum):
    """Permission of a token."""

    READ = "read"
    PUBLISH = "publish"
    COSIGN = "cosign"
    USE = "use"


@dataclass(frozen=True)
class Caller:
    """The sender of a request: the holder of a token, or anonymous.

    Args:
        token: id of the token; None: anonymous.
        scopes: permissions of the token.
        models: models that it is limited to; None: no limit.
        address: origin of the request.
    """

    token: str | None = None
    scopes: frozenset[Scope] = frozenset()
    models: frozenset[str] | None = frozenset()
    address: str | None = None

    @property
    def owner(self) -> str:
        """Id of the token, or empty: this machine. The studio's jobs belong to it."""
        return self.token or ""

    def covers(self, model: str) -> bool:
        """Whether the token is valid for a model."""
        return self.models is None or model in self.models


def create(
    session: Session, name: str, scopes: Collection[Scope], models: Collection[str] | None, lifetime: int
) -> tuple[Token, str]:
    """Create a token; return it with its text, which is never shown again.

    Args:
        session: database session.
        name: name of the owner, for people.
        scopes: permissions, at least one.
        models: models that it is limited to; None: all.
        lifetime: seconds until it expires.

    Raises:
        ConfigurationError: a name is invalid, or there is no scope.
    """
    for each in (name, *(models or ())):
        if not NAME.fullmatch(each):
            raise ConfigurationError(
                "A token's or model's name has small letters, digits, '.', '_' and '-', at most 63 characters."
            )
    if not scopes or (models is not None and not 1 <= len(set(models)) <= MOST_MODELS):
        raise ConfigurationError(f"A token needs a scope, and all models or 1 to {MOST_MODELS} of them.")
    secret, now = secrets.token_hex(32), int(time.time())
    token = Token(
        id=secrets.token_hex(8),
        name=name,
        sha256=_digest(secret),
        scopes=",".join(sorted(set(scopes))),
        models=None if models is None else ",".join(sorted(set(models))),
        created=now,
        expires=now + lifetime,
    )
    session.add(token)
    return token, f"sottovoce_{token.id}_{secret}"


def authenticate(session: Session, text: str, address: str | None) -> Caller | None:
    """The caller with this token, or None if it is unknown, expired or revoked."""
    found = SHAPE.fullmatch(text)
    token = session.get(Token, found[1]) if found else None
    # Constant time: an unknown id takes as long, so the duration does not reveal which ids exist.
    fits = hmac.compare_digest(_digest(found[2] if found else ""), token.sha256 if token else "-" * 64)
    if token is None or not fits or not is_alive(token):
        return None
    return Caller(token.id, scopes_of(token), models_of(token), address)


def is_alive(token: Token) -> bool:
    """Whether a token is neither expired nor revoked."""
    return token.revoked is None and time.time() < token.expires


def scopes_of(token: Token) -> frozenset[Scope]:
    """Permissions of a token."""
    return frozenset(map(Scope, token.scopes.split(",")))


def models_of(token: Token) -> frozenset[str] | None:
    """The models that a token is limited to, or None."""
    return None if token.models is None else frozenset(token.models.split(","))


def revoke(session: Session, token_id: str) -> Token:
    """Revoke a token now.

    Raises:
        ConfigurationError: there is no token with this id.
    """
    token = session.get(Token, token_id) if token_id.isprintable() else None
    if token is None:
        raise ConfigurationError("There is no token with this id.", hint="`sottovoce registry token list` lists them.")
    token.revoked = token.revoked or int(time.time())
    return token


def everything(session: Session) -> list[Token]:
    """All tokens, oldest first."""
    return list(session.scalars(select(Token).order_by(Token.created, Token.id)))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
