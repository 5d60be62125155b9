"""From when on the ledger is complete."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention",
        sa.Column(
            "single", sa.Boolean, sa.CheckConstraint("single"), primary_key=True, server_default=sa.true()
        ),
        sa.Column(
            "ledger_from",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="months before it were dropped; only what counts for life is left of them",
        ),
    )


def downgrade() -> None:
    op.drop_table("retention")
