"""Deliveries are found by the events they gave.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "deliveries_event_ids",
        "deliveries",
        ["event_ids"],
        postgresql_using="gin",
        postgresql_ops={"event_ids": "jsonb_path_ops"},
    )


def downgrade() -> None:
    op.drop_index("deliveries_event_ids", "deliveries")
