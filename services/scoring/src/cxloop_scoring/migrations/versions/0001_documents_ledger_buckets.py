"""Documents, ledger, buckets and dimension values."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from cxloop_common.database.foundation import create_foundation_tables

revision = "0001"
down_revision = None
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


def _create_buckets(name: str) -> None:
    op.create_table(
        name,
        sa.Column("metric", sa.SmallInteger, primary_key=True),
        sa.Column("dimension", sa.SmallInteger, primary_key=True, comment="0 is the total"),
        sa.Column("at", sa.Integer, primary_key=True, comment="hours or days since 1970"),
        sa.Column("value", sa.Integer, primary_key=True, comment="0 for the total"),
        sa.Column("shard", sa.SmallInteger, primary_key=True),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("sum", sa.BigInteger, nullable=False),
        sa.Column("squares", sa.BigInteger, nullable=False, comment="sum of squares; 0 for durations"),
        sa.Column("low", sa.Integer, nullable=False),
        sa.Column("middle", sa.Integer, nullable=False),
        sa.Column("high", sa.Integer, nullable=False),
        sa.Column(
            "histogram", sa.LargeBinary, comment="pairs of bin (2 bytes) and count (4); of durations alone"
        ),
        postgresql_with={"fillfactor": 70},
    )


def upgrade() -> None:
    create_foundation_tables(op)
    op.create_table(
        "documents",
        sa.Column("id", sa.Text(collation="C"), primary_key=True),
        sa.Column("shard", sa.SmallInteger, nullable=False, comment="where the document was first met"),
        sa.Column(
            "generation", sa.Integer, nullable=False, comment="formulas and configuration it was booked with"
        ),
        sa.Column("facts", sa.LargeBinary, nullable=False, comment="msgpack: event id -> fact"),
        postgresql_with={"fillfactor": 80},
    )
    op.create_table(
        "ledger",
        sa.Column("document", sa.Text(collation="C"), nullable=False),
        sa.Column("metric", sa.SmallInteger, nullable=False),
        sa.Column("sign", sa.SmallInteger, nullable=False, comment="+1 booked, -1 withdrawn"),
        sa.Column(
            "value",
            sa.BigInteger,
            nullable=False,
            comment="milliseconds, hundredths of a point, or 0 and 1",
        ),
        sa.Column("band", sa.SmallInteger, comment="0 low, 1 middle, 2 high; of scores alone"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("customer", sa.BigInteger, comment="hash of the customer hint"),
        *(sa.Column(name, sa.Integer) for name in DIMENSIONS),
        sa.Column("more", postgresql.ARRAY(sa.Integer), comment="value ids of tags and declared dimensions"),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index(
        "ledger_metric_at",
        "ledger",
        ["metric", "at"],
        postgresql_include=["sign", "value", "band", *DIMENSIONS],
    )
    # Months are added ahead of time by the service; what belongs to none of them lands here.
    op.execute("CREATE TABLE ledger_other PARTITION OF ledger DEFAULT")
    _create_buckets("bucket_hour")
    _create_buckets("bucket_day")
    op.create_table(
        "dimensions",
        sa.Column("id", sa.SmallInteger, sa.Identity(start=100), primary_key=True),
        sa.Column("name", sa.Text(collation="C"), nullable=False, unique=True),
    )
    op.create_table(
        "dimension_values",
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("dimension", sa.SmallInteger, nullable=False),
        sa.Column("value", sa.Text(collation="C"), nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.UniqueConstraint("dimension", "value"),
    )
    # The domain's duration_bin, for questions that read the ledger: 64 bins an octave. width_bucket over the
    # powers of two is the bit length of a bigint, exactly.
    powers = ", ".join(str(1 << power) for power in range(63))
    op.execute(
        f"""
        CREATE FUNCTION duration_bin(v bigint) RETURNS integer
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
            SELECT CASE WHEN v < 64 THEN v::integer
                        ELSE ((bits - 7) * 64 + (v >> (bits - 7)))::integer END
            FROM (SELECT width_bucket(v, ARRAY[{powers}]::bigint[]) AS bits) AS lengths
        $$
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION duration_bin(bigint)")
    for table in ("dimension_values", "dimensions", "bucket_day", "bucket_hour", "ledger", "documents"):
        op.drop_table(table)
    for table in ("outbox", "dead_letters", "offsets"):
        op.drop_table(table)
