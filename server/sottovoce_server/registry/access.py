"""Authentication and rate limiting of every request."""

from collections.abc import Callable
from typing import Annotated, NoReturn

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from sottovoce_server.database import Database
from sottovoce_server.registry import audit_log
from sottovoce_server.registry.audit_log import Action
from sottovoce_server.registry.rate_limit import Limiter
from sottovoce_server.registry.tokens import Caller, Scope, authenticate

BEARER = HTTPBearer(auto_error=False, description="A token from `sottovoce registry token create`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
Dependency = Callable[..., Caller]


class Access:
    """Identifies callers.

    Args:
        database: database of tokens.
        limiter: counts requests.
    """

    def __init__(self, database: Database, limiter: Limiter) -> None:
        self._database = database
        self._limiter = limiter

    def caller(self, request: Request, credentials: Credentials) -> Caller:
        """The caller of a request; anonymous without a token. A wrong token is an error, even for public models."""
        address = request.client.host if request.client else "unknown"
        if "authorization" not in request.headers:
            found: Caller | None = Caller(address=address)
        else:
            with self._database.session() as session:
                found = authenticate(session, credentials.credentials if credentials else "", address)
        if found is None:
            self._refuse(address)
        self._limiter.count_request(found.token or address)
        return found

    def _refuse(self, address: str) -> NoReturn:
        """Refuse a wrong token; only the first of many are logged."""
        self._limiter.count_refusal(address)
        with self._database.session() as session:
            audit_log.record(session, Action.REFUSE, Caller(address=address), "unknown, expired or revoked token")
        raise HTTPException(401, "The token is unknown, expired or revoked.", headers={"WWW-Authenticate": "Bearer"})

    def holder_of(self, scope: Scope) -> Dependency:
        """A dependency that returns the caller, who must have a scope."""

        def holder(request: Request, credentials: Credentials) -> Caller:
            caller = self.caller(request, credentials)
            if caller.token is None:
                raise HTTPException(401, "A token is required.", headers={"WWW-Authenticate": "Bearer"})
            if scope not in caller.scopes:
                raise HTTPException(403, f"The token's scopes do not include '{scope}'.")
            return caller

        return holder
