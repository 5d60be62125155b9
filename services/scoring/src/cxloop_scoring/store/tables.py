"""Tables, defined once. The reasons for their layout stand in the README."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from cxloop_scoring.domain.dimensions import COLUMNS, FIRST_DECLARED

METADATA = MetaData()

DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("id", Text(collation="C"), primary_key=True),
    Column("shard", SmallInteger, nullable=False, comment="where the document was first met"),
    Column("generation", Integer, nullable=False, comment="formulas and configuration it was booked with"),
    Column("facts", LargeBinary, nullable=False, comment="msgpack: event id -> fact"),
    Column(
        "booked_at",
        ARRAY(DateTime(timezone=True)),
        comment="times of observations that no fact of the document has, such as a target's due time",
    ),
    postgresql_with={"fillfactor": 80},
)

LEDGER = Table(
    "ledger",
    METADATA,
    Column("document", Text(collation="C"), nullable=False),
    Column("metric", SmallInteger, nullable=False),
    Column("sign", SmallInteger, nullable=False, comment="+1 booked, -1 withdrawn"),
    Column("value", BigInteger, nullable=False, comment="milliseconds, hundredths of a point, or 0 and 1"),
    Column("band", SmallInteger, comment="0 low, 1 middle, 2 high; of scores alone"),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("customer", BigInteger, comment="hash of the customer hint"),
    *(Column(name, Integer) for name in COLUMNS),
    Column("more", ARRAY(Integer), comment="value ids of tags and declared dimensions"),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("ticket", Text(collation="C"), comment="document of the ticket that a response is about"),
    Index(
        "ledger_metric_at",
        "metric",
        "at",
        postgresql_include=["sign", "value", "band", *COLUMNS, "customer"],
    ),
    Index(
        "ledger_withdrawn",
        "metric",
        "at",
        postgresql_include=["customer"],
        postgresql_where=text("sign < 0"),
    ),
    postgresql_partition_by="RANGE (at)",
)


def _buckets(name: str) -> Table:
    return Table(
        name,
        METADATA,
        Column("metric", SmallInteger, primary_key=True),
        Column("dimension", SmallInteger, primary_key=True, comment="0 is the total"),
        Column("at", Integer, primary_key=True, comment="hours or days since 1970"),
        Column("value", Integer, primary_key=True, comment="0 for the total"),
        Column("shard", SmallInteger, primary_key=True),
        Column("n", Integer, nullable=False),
        Column("sum", BigInteger, nullable=False),
        Column("squares", BigInteger, nullable=False, comment="sum of squares; 0 for durations"),
        Column("low", Integer, nullable=False),
        Column("middle", Integer, nullable=False),
        Column("high", Integer, nullable=False),
        Column("histogram", LargeBinary, comment="pairs of bin (2 bytes) and count (4); of durations alone"),
        postgresql_with={"fillfactor": 70},
    )


BUCKET_HOUR = _buckets("bucket_hour")
BUCKET_DAY = _buckets("bucket_day")

DIMENSIONS = Table(
    "dimensions",
    METADATA,
    Column("id", SmallInteger, Identity(start=FIRST_DECLARED), primary_key=True),
    Column("name", Text(collation="C"), nullable=False, unique=True),
)
"""Declared dimensions; the built-in ones are numbered in the code."""

DIMENSION_VALUES = Table(
    "dimension_values",
    METADATA,
    Column("id", Integer, Identity(), primary_key=True),
    Column("dimension", SmallInteger, nullable=False),
    Column("value", Text(collation="C"), nullable=False),
    Column("first_seen", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("dimension", "value"),
)
"""Small integers for texts. An id is unique over all dimensions, and carries no meaning."""

CUSTOMERS = Table(
    "customers",
    METADATA,
    Column("identifier", BigInteger, primary_key=True, comment="hash, as in the ledger"),
    Column("customer", BigInteger, nullable=False, comment="hash of journey's customer id"),
    Column("version", BigInteger, nullable=False, comment="journey's; the highest counts"),
)
"""Whose identifier it is now."""

CUSTOMER_HISTORY = Table(
    "customer_history",
    METADATA,
    Column("identifier", BigInteger, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("customer", BigInteger, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
)
"""Whose identifier it was at any time before, for answers as of then."""

CASE_LINKS = Table(
    "case_links",
    METADATA,
    Column("kind", SmallInteger, nullable=False, comment="0 trigger, 1 superseded"),
    Column("subject", Text(collation="C"), nullable=False, comment="score or superseded case"),
    Column("case_document", Text(collation="C"), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column(
        "forgotten_at",
        DateTime(timezone=True),
        comment="when no record named it any more; null while one does",
    ),
    Index("case_links_key", "kind", "subject", "case_document"),
    Index(
        "case_links_in_force",
        "kind",
        "subject",
        "case_document",
        unique=True,
        postgresql_where=text("forgotten_at IS NULL"),
    ),
)
"""Which scores raised a case, and which cases it stands for, now and at any earlier time."""

CONFIGURATIONS = Table(
    "configurations",
    METADATA,
    Column("number", Integer, Identity(), primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("content", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
"""Configurations that documents were ever booked with."""

SCALES = Table(
    "scales",
    METADATA,
    Column("source", Text(collation="C"), primary_key=True),
    Column("survey", Text(collation="C"), primary_key=True),
    Column("metric", Text(collation="C"), primary_key=True),
    Column("least", Float, primary_key=True),
    Column("most", Float, primary_key=True),
    Column("lower_is_better", Boolean, primary_key=True),
)
"""Scales that surveys were ever answered on."""
