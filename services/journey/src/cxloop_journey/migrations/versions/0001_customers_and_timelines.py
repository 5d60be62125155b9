"""Customers and their timelines.

Revision ID: 0001
Revises:
"""

from alembic import op

from cxloop_common.database.foundation import create_foundation_tables
from cxloop_journey.store.tables import create_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_foundation_tables(op)
    create_tables(op)


def downgrade() -> None:
    raise NotImplementedError("the first revision is not taken back: drop the schema instead")
