"""The first tables: models, releases, files, tokens, uploads, events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "models",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("visibility", sa.String(16), nullable=False),
        sa.Column("coordinator_key", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "releases",
        sa.Column("id", KEY, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(63), sa.ForeignKey("models.name"), nullable=False),
        sa.Column("version", sa.String(16), nullable=False),
        sa.Column("agreement", sa.String(64), nullable=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.Column("withdrawn", sa.BigInteger),
        sa.UniqueConstraint("model", "version"),
    )
    op.create_table(
        "files",
        sa.Column("release_id", KEY, sa.ForeignKey("releases.id"), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, index=True),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("models", sa.String(8192)),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("token", sa.String(16), sa.ForeignKey("tokens.id"), nullable=False, index=True),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("version", sa.String(16), nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("id", KEY, primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("token", sa.String(16)),
        sa.Column("subject", sa.String(160), nullable=False),
        sa.Column("address", sa.String(64)),
    )
    op.create_index("events_by_time", "events", ["time"])


def downgrade() -> None:
    """Drop the tables with all their content."""
    for table in ("events", "uploads", "tokens", "files", "releases", "models"):
        op.drop_table(table)
