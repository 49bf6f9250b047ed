"""The first tables: jobs, the log of outputs, tokens, and the events of tokens."""

from alembic import op

from sottovoce_server.registry.schema import Event, Token
from sottovoce_server.studio.schema import Base

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    connection = op.get_bind()
    Base.metadata.create_all(connection)
    Token.metadata.create_all(connection, tables=[Token.__table__, Event.__table__])
