"""Whose identifiers belong together, which scores have a case, which configuration documents were booked with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "ledger",
        sa.Column(
            "ticket", sa.Text(collation="C"), comment="document of the ticket that a response is about"
        ),
    )
    op.add_column(
        "documents",
        sa.Column(
            "booked_at",
            postgresql.ARRAY(sa.DateTime(timezone=True)),
            comment="times of observations that no fact of the document has, such as a target's due time",
        ),
    )
    op.create_table(
        "customers",
        sa.Column("identifier", sa.BigInteger, primary_key=True, comment="hash, as in the ledger"),
        sa.Column("customer", sa.BigInteger, nullable=False, comment="hash of journey's customer id"),
        sa.Column("version", sa.BigInteger, nullable=False, comment="journey's; the highest counts"),
    )
    op.create_table(
        "customer_history",
        sa.Column("identifier", sa.BigInteger, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("customer", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "case_links",
        sa.Column("kind", sa.SmallInteger, primary_key=True, comment="0 trigger, 1 superseded"),
        sa.Column("subject", sa.Text(collation="C"), primary_key=True, comment="score or superseded case"),
        sa.Column("case_document", sa.Text(collation="C"), primary_key=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "configurations",
        sa.Column("number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "scales",
        sa.Column("source", sa.Text(collation="C"), primary_key=True),
        sa.Column("survey", sa.Text(collation="C"), primary_key=True),
        sa.Column("metric", sa.Text(collation="C"), primary_key=True),
        sa.Column("least", sa.Float, primary_key=True),
        sa.Column("most", sa.Float, primary_key=True),
        sa.Column("lower_is_better", sa.Boolean, primary_key=True),
    )


def downgrade() -> None:
    for table in ("scales", "configurations", "case_links", "customer_history", "customers"):
        op.drop_table(table)
    op.drop_column("documents", "booked_at")
    op.drop_column("ledger", "ticket")
