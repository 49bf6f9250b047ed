"""The first tables: jobs, the log of outputs, tokens, and the events of tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "jobs",
        sa.Column("number", KEY, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(16), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("model", sa.String(80)),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("sources", sa.JSON, nullable=False),
        sa.Column("file", sa.String(255)),
        sa.Column("webhook", sa.String(2000)),
        sa.Column("webhook_due", sa.Float),
        sa.Column("webhook_calls", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("ended", sa.Float),
        sa.Column("worker", sa.String(32)),
        sa.Column("claim", sa.Integer, nullable=False),
        sa.Column("strikes", sa.Integer, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("problem", sa.String(1000)),
        sa.Column("hint", sa.String(1000)),
        sa.UniqueConstraint("owner", "idempotency_key"),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "number"])
    op.create_index("jobs_by_owner", "jobs", ["owner", "state"])
    op.create_index("jobs_by_webhook", "jobs", ["webhook_due"])
    op.create_table(
        "outputs",
        sa.Column("id", KEY, primary_key=True, autoincrement=True),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("job", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(16), nullable=False, index=True),
        sa.Column("token", sa.String(63)),
        sa.Column("model", sa.String(80)),
        sa.Column("digest", sa.String(64)),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("seed", sa.BigInteger),
        sa.Column("audio", sa.String(64)),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.UniqueConstraint("job", "number"),
    )
    op.create_index("outputs_by_time", "outputs", ["time"])
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
        "events",
        sa.Column("id", KEY, primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("token", sa.String(16)),
        sa.Column("subject", sa.String(160), nullable=False),
        sa.Column("address", sa.String(64)),
    )
    op.create_index("events_by_time", "events", ["time"])
