"""The customer of a score is read from the index, and so are withdrawals."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DIMENSIONS = (
    "source",
    "channel",
    "contact_type",
    "team",
    "agent",
    "touchpoint",
    "stage",
    "segment",
    "product",
    "location",
    "survey",
)
_COVERED = ["sign", "value", "band", *DIMENSIONS]


def upgrade() -> None:
    # A covering index cannot be widened; making it anew holds up writers for as long as it takes.
    op.drop_index("ledger_metric_at")
    op.create_index(
        "ledger_metric_at", "ledger", ["metric", "at"], postgresql_include=[*_COVERED, "customer"]
    )
    # Few rows are withdrawals. Whoever knows them can take all others as they stand.
    op.execute("CREATE INDEX ledger_withdrawn ON ledger (metric, at) INCLUDE (customer) WHERE sign < 0")


def downgrade() -> None:
    op.execute("DROP INDEX ledger_withdrawn")
    op.drop_index("ledger_metric_at")
    op.create_index("ledger_metric_at", "ledger", ["metric", "at"], postgresql_include=_COVERED)
