"""Access tokens: 256 random bits, of which the registry keeps only a digest, with scopes and an end.

The secret is random, not chosen by a person, so that one SHA-256 is enough: there is no dictionary to try.
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
    """What a token allows."""

    READ = "read"
    PUBLISH = "publish"
    COSIGN = "cosign"


@dataclass(frozen=True)
class Caller:
    """Who asks: somebody with a token, or anybody.

    Args:
        token: its id; None: nobody in particular.
        scopes: what it allows.
        models: the names that it is limited to; None: no limit.
        address: where the request came from.
    """

    token: str | None = None
    scopes: frozenset[Scope] = frozenset()
    models: frozenset[str] | None = frozenset()
    address: str | None = None

    def covers(self, model: str) -> bool:
        """Whether the token is good for a model."""
        return self.models is None or model in self.models


def create(
    session: Session, name: str, scopes: Collection[Scope], models: Collection[str] | None, lifetime: int
) -> tuple[Token, str]:
    """A new token, and its text, which is shown this once.

    Args:
        session: to add it to.
        name: for people: whose it is.
        scopes: what it allows, at least one thing.
        models: names that it is limited to; None: all.
        lifetime: seconds until it ends.

    Raises:
        ConfigurationError: a name is none, or there is no scope.
    """
    for each in (name, *(models or ())):
        if not NAME.fullmatch(each):
            raise ConfigurationError(
                "A token's or model's name takes small letters, digits, '.', '_' and '-', at most 63 of them."
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
    """Who holds this token, or None if it is unknown, expired or revoked."""
    found = SHAPE.fullmatch(text)
    token = session.get(Token, found[1]) if found else None
    # The comparison takes as long for an unknown id: how long we take says nothing about which ids there are.
    fits = hmac.compare_digest(_digest(found[2] if found else ""), token.sha256 if token else "-" * 64)
    if token is None or not fits or not is_alive(token):
        return None
    return Caller(token.id, scopes_of(token), models_of(token), address)


def is_alive(token: Token) -> bool:
    """Whether a token is neither expired nor revoked."""
    return token.revoked is None and time.time() < token.expires


def scopes_of(token: Token) -> frozenset[Scope]:
    """What a token allows."""
    return frozenset(map(Scope, token.scopes.split(",")))


def models_of(token: Token) -> frozenset[str] | None:
    """The models that a token is limited to, or None."""
    return None if token.models is None else frozenset(token.models.split(","))


def revoke(session: Session, token_id: str) -> Token:
    """End a token now.

    Raises:
        ConfigurationError: there is none with this id.
    """
    token = session.get(Token, token_id) if token_id.isprintable() else None
    if token is None:
        raise ConfigurationError(
            "There is no token with this id.", hint="`sottovoce registry token list` shows their ids."
        )
    token.revoked = token.revoked or int(time.time())
    return token


def everything(session: Session) -> list[Token]:
    """All tokens, oldest first."""
    return list(session.scalars(select(Token).order_by(Token.created, Token.id)))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
