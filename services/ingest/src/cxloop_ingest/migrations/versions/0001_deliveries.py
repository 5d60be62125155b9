"""What became of deliveries, and what waits in quarantine.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from cxloop_common.database.foundation import create_foundation_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_foundation_tables(op)
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the first time it was posted",
        ),
        sa.Column("attempt", sa.Integer, nullable=False, comment="replays before the outcome that counts"),
        sa.Column(
            "standing",
            sa.SmallInteger,
            nullable=False,
            comment="0 quarantined, 1 ignored, 2 normalised",
        ),
        sa.Column("tie", sa.Text(collation="C"), nullable=False, comment="decides between equal standings"),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column(
            "items",
            JSONB,
            nullable=False,
            comment="[{index, reason, detail}] of what gave no event",
        ),
        sa.Column("event_ids", JSONB, nullable=False),
    )
    op.create_index("deliveries_source", "deliveries", ["source", "received_at"])
    op.create_index("deliveries_received", "deliveries", ["received_at"])
    op.create_table(
        "quarantine",
        sa.Column("delivery_id", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("items", JSONB, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("headers", JSONB, nullable=False),
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False, comment="its received_at"),
        sa.Column("attempts", sa.Integer, nullable=False, comment="replays so far"),
    )
    op.create_index("quarantine_source", "quarantine", ["source"])
    op.create_index("quarantine_first_seen", "quarantine", ["first_seen", "delivery_id"])


def downgrade() -> None:
    raise NotImplementedError("the first revision is not taken back: drop the schema instead")
