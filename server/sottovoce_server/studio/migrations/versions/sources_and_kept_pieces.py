"""The piece that a job edits, and the piece of a job that its owner keeps."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("jobs", sa.Column("source", sa.String(40)))
    op.add_column("jobs", sa.Column("kept", sa.Integer))
