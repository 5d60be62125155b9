"""The strict tally: nothing in its tables would stop a record from being counted twice."""

import sqlalchemy as sa
from alembic import op

from cxloop_common.database.foundation import create_foundation_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_foundation_tables(op)
    op.create_table(
        "applied",
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("record_offset", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sums",
        sa.Column("shard", sa.SmallInteger, primary_key=True),
        sa.Column("key", sa.Text(collation="C"), primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("sum", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("sums")
    op.drop_table("applied")
