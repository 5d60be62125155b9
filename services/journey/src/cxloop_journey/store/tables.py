"""The tables. An identifier's row id is its name everywhere else; a customer is the row id of its founder."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Sequence,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType

BUCKETS: Final = 65_536
"""Rows of `locks`. A component is locked by the bucket of its root: rows that never change hands."""
TOUCHPOINT_PARTITIONS: Final = 16

METADATA = MetaData()


class _TransactionId(UserDefinedType[int]):
    """PostgreSQL's `xid8`: a transaction id that never wraps."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


_TIME = DateTime(timezone=True)

VERSIONS = Sequence("journey_versions", metadata=METADATA)

IDENTITY_KEY = Table(
    "identity_key",
    METADATA,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    Column("key", LargeBinary, comment="the key itself where no setting brings one"),
    Column("fingerprint", LargeBinary, nullable=False, comment="tells another key from this one"),
)

LOCKS = Table("locks", METADATA, Column("bucket", Integer, primary_key=True, autoincrement=False))

IDENTIFIERS = Table(
    "identifiers",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True, comment="keyed BLAKE2b-128 of scheme:value"),
    Column("scheme", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("first_seen", _TIME, nullable=False),
    Column("shared", Boolean, nullable=False, server_default=text("false")),
    Column("root", BigInteger, nullable=False, comment="names the component"),
    Column("customer", BigInteger, nullable=False, comment="the founder"),
    Column("version", BigInteger, VERSIONS, nullable=False, server_default=VERSIONS.next_value()),
    Column("erased_until", _TIME),
    Index("identifiers_root", "root"),
    Index("identifiers_customer", "customer"),
    # Merges update root and customer: room on the page keeps the row where it is.
    postgresql_with={"fillfactor": 80},
)

PAIRS = Table(
    "pairs",
    METADATA,
    Column("a", BigInteger, primary_key=True, autoincrement=False),
    Column("b", BigInteger, primary_key=True, autoincrement=False),
    Column("first_seen", _TIME, nullable=False),
    Index("pairs_backwards", "b", "a"),
)

WEAK_LINKS = Table(
    "weak_links",
    METADATA,
    Column("weak", BigInteger, primary_key=True, autoincrement=False),
    Column("strong", BigInteger, primary_key=True, autoincrement=False),
    Index("weak_links_backwards", "strong", "weak"),
)

SPLITS = Table(
    "splits",
    METADATA,
    Column("identifier", BigInteger, primary_key=True, autoincrement=False),
    Column("split", LargeBinary, primary_key=True),
    Column("side", SmallInteger, nullable=False),
)

DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("doc_key", Text, primary_key=True),
    Column("owner", BigInteger, comment="the anchor; null until somebody is named"),
    Column("others", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("at", _TIME),
    Column("open", Boolean, nullable=False, server_default=text("false")),
    Column("link", Text, comment="the ticket that a response belongs to"),
    Column("facts", JSONB, nullable=False, server_default=text("'{}'")),
    Column("score", JSONB),
    Index("documents_owner", "owner", "at"),
    Index("documents_open", "owner", postgresql_where=text("open")),
    Index("documents_scored", "owner", "at", postgresql_where=text("score IS NOT NULL")),
    Index("documents_link", "link", postgresql_where=text("link IS NOT NULL")),
)

TOUCHPOINTS = Table(
    "touchpoints",
    METADATA,
    Column("anchor", BigInteger, primary_key=True, autoincrement=False),
    Column("at", _TIME, primary_key=True),
    Column("event", LargeBinary, primary_key=True, comment="names source and event id"),
    Column("others", ARRAY(BigInteger), comment="the other identifiers the anchor was chosen from"),
    Column("doc_key", Text),
    Column("event_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("touchpoint", Text),
    Column("stage", Text),
    Column("channel", Text),
    Column("source", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("amount", Numeric),
    Column("currency", Text),
    postgresql_partition_by="HASH (anchor)",
)

TOUCHPOINT_EVENTS = Table(
    "touchpoint_events",
    METADATA,
    Column("event", LargeBinary, primary_key=True),
    Column("at", _TIME, nullable=False),
    Column("content", Text, nullable=False),
    Column("anchor", BigInteger, nullable=False),
    comment="events that belong to no document: of two contents under one id the least counts",
)

ANCHOR_DAYS = Table(
    "anchor_days",
    METADATA,
    Column("anchor", BigInteger, primary_key=True, autoincrement=False),
    Column("day", Date, primary_key=True),
    Column("stage", Text, primary_key=True, comment="empty where an entry has none"),
    Column("n", BigInteger, nullable=False),
    postgresql_with={"fillfactor": 80},
)

DIRTY = Table(
    "dirty",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("anchor", BigInteger, nullable=False),
    Column("day", Date),
    Column("stage", Text),
    Column("n", Integer, nullable=False, server_default=text("0")),
    Index("dirty_anchor", "anchor"),
)

REPAIRS = Table(
    "repairs",
    METADATA,
    Column("identifier", BigInteger, primary_key=True, autoincrement=False),
    Column("ready_after", _TransactionId, comment="repaired once all transactions up to it have ended"),
)

JOURNEYS = Table(
    "journeys",
    METADATA,
    Column("customer", BigInteger, primary_key=True, autoincrement=False),
    Column("stage", Text, nullable=False),
    Column("signals", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("next_check_at", _TIME, comment="when the stage can next change without an event"),
    Column("merged_into", BigInteger),
    Column("links_hash", LargeBinary, nullable=False),
    Column("published_hash", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Index("journeys_next_check_at", "next_check_at", postgresql_where=text("next_check_at IS NOT NULL")),
    postgresql_with={"fillfactor": 80},
)


def create_tables(op: Any) -> None:
    """Create all tables, the partitions of the timeline and the lock buckets.

    What revision 0001 makes is fixed: a change is a new revision.
    """
    METADATA.create_all(op.get_bind(), checkfirst=False)
    for number in range(TOUCHPOINT_PARTITIONS):
        op.execute(
            f"CREATE TABLE touchpoints_{number} PARTITION OF touchpoints "
            f"FOR VALUES WITH (MODULUS {TOUCHPOINT_PARTITIONS}, REMAINDER {number})"
        )
    op.execute(f"INSERT INTO locks SELECT generate_series(0, {BUCKETS - 1})")
