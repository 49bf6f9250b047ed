"""Alembic's way in: it runs on the connection that `database.migrate` hands over, in that one transaction."""

from alembic import context

from sottovoce_server.registry.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
