"""What was published of metrics last, and which shifts were told."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "published_snapshots",
        sa.Column("series", sa.Text(collation="C"), primary_key=True, comment="the record's key"),
        sa.Column("digest", sa.LargeBinary, nullable=False, comment="of the content, the window apart"),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "published_shifts",
        sa.Column("series", sa.Text(collation="C"), primary_key=True, comment="the snapshot's key"),
        sa.Column(
            "looked_at", sa.BigInteger, nullable=False, comment="microseconds since 1970, as all three"
        ),
        sa.Column("announced", sa.Text, comment="up or down; null when the next shift is news"),
        sa.Column("announced_at", sa.BigInteger),
        sa.Column("quiet_since", sa.BigInteger, comment="first of the looks in a row without a difference"),
        sa.Column("announcements", sa.Integer, nullable=False),
    )
    op.execute("CREATE SEQUENCE published_sequence")


def downgrade() -> None:
    op.execute("DROP SEQUENCE published_sequence")
    for table in ("published_shifts", "published_snapshots"):
        op.drop_table(table)
