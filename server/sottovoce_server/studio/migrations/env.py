"""Alembic environment: runs on the connection and transaction of `database.migrate`."""

from alembic import context

from sottovoce_server.studio.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
