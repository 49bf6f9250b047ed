"""`/health`: whether a service and its database respond."""

from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import text

from sottovoce_server.database import Database


class Health(BaseModel):
    """The service is running, and its database responds."""

    status: str = "ok"


def add_health(routes: APIRouter, database: Database, responses: dict[int | str, dict[str, Any]]) -> None:
    """Add the route.

    Args:
        routes: routes of the service.
        database: its database.
        responses: its error responses, for the OpenAPI page.
    """
    apart = CapacityLimiter(1)  # all other threads may be busy with downloads

    @routes.get("/health", responses=responses)
    async def health() -> Health:
        """Whether the service and its database respond."""

        def ask() -> None:
            with database.session() as session:
                session.execute(text("SELECT 1"))

        await to_thread.run_sync(ask, limiter=apart)
        return Health()
