"""Who is asking, and how often: what every request passes first."""

from collections.abc import Callable
from typing import Annotated, NoReturn

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from sottovoce_server.registry import audit_log
from sottovoce_server.registry.audit_log import Action
from sottovoce_server.registry.database import Database
from sottovoce_server.registry.rate_limit import Limiter
from sottovoce_server.registry.tokens import Caller, Scope, authenticate

BEARER = HTTPBearer(auto_error=False, description="A token from `sottovoce registry token create`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
Dependency = Callable[..., Caller]


class Access:
    """Tells callers apart.

    Args:
        database: that knows the tokens.
        limiter: that counts.
    """

    def __init__(self, database: Database, limiter: Limiter) -> None:
        self._database = database
        self._limiter = limiter

    def caller(self, request: Request, credentials: Credentials) -> Caller:
        """The caller of a request; without a token: anybody. A wrong token is an error, even for what is public."""
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
        """Turn away a wrong token; of a flood of them, only the first are logged."""
        self._limiter.count_refusal(address)
        with self._database.session() as session:
            audit_log.record(session, Action.REFUSE, Caller(address=address), "unknown, expired or revoked token")
        raise HTTPException(401, "The token is unknown, expired or revoked.", headers={"WWW-Authenticate": "Bearer"})

    def holder_of(self, scope: Scope) -> Dependency:
        """A dependency: the caller, who must hold a scope."""

        def holder(request: Request, credentials: Credentials) -> Caller:
            caller = self.caller(request, credentials)
            if caller.token is None:
                raise HTTPException(401, "This takes a token.", headers={"WWW-Authenticate": "Bearer"})
            if scope not in caller.scopes:
                raise HTTPException(403, f"The token's scopes do not include '{scope}'.")
            return caller

        return holder
