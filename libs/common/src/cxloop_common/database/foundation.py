"""The tables that every service has: its position in the log, what it parked, and what it has yet to announce."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    func,
)

METADATA = MetaData()

OFFSETS = Table(
    "offsets",
    METADATA,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("topic_id", Text, nullable=False, comment="Kafka's id of the topic: another one is another log"),
    Column("shard", SmallInteger, Identity(always=True), nullable=False, unique=True),
    Column("next_offset", BigInteger, nullable=False),
    Column("poison_streak", Integer, nullable=False, server_default="0"),
    Column("paused", Text, comment="why the partition is paused, until an operator releases it"),
    # Updated with every batch: room on the page keeps those updates out of the index.
    postgresql_with={"fillfactor": 10},
)

DEAD_LETTERS = Table(
    "dead_letters",
    METADATA,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("record_offset", BigInteger, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", LargeBinary, nullable=False, comment="msgpack: [[name, bytes], ...]"),
    Column("first_seen", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("replays", Integer, nullable=False, server_default="0"),
    Column("replayed_at", DateTime(timezone=True)),
    Index("dead_letters_first_seen", "first_seen", "topic", "partition", "record_offset"),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("topic", Text, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
    Column("headers", LargeBinary, nullable=False, comment="msgpack: [[name, bytes], ...]"),
)


def create_foundation_tables(op: Any) -> None:
    """Create the tables above; called by the first migration of each service with Alembic's `op`.

    What they look like is fixed by revision 0001 of every service: a change is a new function, called by a new
    migration.
    """
    METADATA.create_all(op.get_bind(), checkfirst=False)
