"""Writing a batch: documents, ledger and buckets, each in as few statements as its size allows."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from cxloop_common.processor import ProcessingError
from cxloop_scoring.domain.buckets import BucketRows, Entry
from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.facts import Facts, decode_facts, encode_facts
from cxloop_scoring.domain.histogram import decode_histogram, encode_histogram
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.store.connection import Connection

_READ_DOCUMENTS = "SELECT id, generation, facts, xmin, booked_at FROM documents WHERE id = ANY($1::text[])"
# Rows come by COPY into tables of the session and go on by one statement: as arrays, their values would take
# five times as long to encode. These statements have no parameters, so that each is planned for what there is.
_STAGE_DOCUMENTS = """
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_documents (
        id text COLLATE "C", shard int2, generation int4, facts bytea, version xid, booked_at timestamptz[]
    ) ON COMMIT DELETE ROWS;
    DELETE FROM staged_documents
"""
_DOCUMENT_COLUMNS = ("id", "shard", "generation", "facts", "version", "booked_at")
_INSERT_DOCUMENTS = """
    INSERT INTO documents (id, shard, generation, facts, booked_at)
    SELECT id, shard, generation, facts, booked_at FROM staged_documents WHERE version IS NULL
    ON CONFLICT (id) DO NOTHING
"""
# The row version is compared, not the row locked: two workers meet in one document only where a ticket was
# merged and its facts arrive by another topic.
_UPDATE_DOCUMENTS = """
    UPDATE documents AS d SET generation = s.generation, facts = s.facts, booked_at = s.booked_at
    FROM staged_documents AS s WHERE d.id = s.id AND d.xmin = s.version
"""
_LEDGER_COLUMNS = (
    *("document", "metric", "sign", "value", "band", "at", "customer"),
    *COLUMNS,
    *("more", "ticket", "recorded_at"),
)

BUCKET_TABLES = ("bucket_hour", "bucket_day")
_COMPACTED_FROM = 4096
"""Bytes from which a histogram's pairs are added up into one pair a bin."""

_KEY = (
    "(s.what >> 16)::int2, (s.what & 65535)::int2, (s.slot >> 32)::int4, (s.slot & 4294967295)::int4, s.shard"
)
_CONFLICT = "ON CONFLICT (metric, dimension, at, value, shard) DO UPDATE SET"
_COUNTED_COLUMNS = ("what", "slot", "shard", "n", "sum", "squares", "low", "middle", "high")
_TIMED_COLUMNS = ("what", "slot", "shard", "n", "sum", "histogram")


def _stage(table: str) -> str:
    return f"""
        CREATE TEMPORARY TABLE IF NOT EXISTS staged_{table} (
            what int4, slot int8, shard int2, n int4, sum int8, squares int8, low int4, middle int4, high int4
        ) ON COMMIT DELETE ROWS;
        CREATE TEMPORARY TABLE IF NOT EXISTS staged_{table}_timed (
            what int4, slot int8, shard int2, n int4, sum int8, histogram bytea
        ) ON COMMIT DELETE ROWS;
        DELETE FROM staged_{table};
        DELETE FROM staged_{table}_timed
    """


def _counted(table: str) -> str:
    return f"""
        INSERT INTO {table} AS b
            (metric, dimension, at, value, shard, n, sum, squares, low, middle, high)
        SELECT {_KEY}, s.n, s.sum, s.squares, s.low, s.middle, s.high FROM staged_{table} AS s
        {_CONFLICT} n = b.n + excluded.n, sum = b.sum + excluded.sum, squares = b.squares + excluded.squares,
            low = b.low + excluded.low, middle = b.middle + excluded.middle, high = b.high + excluded.high
    """


def _timed(table: str) -> str:
    # Histograms are appended, not read and added up: pairs of one bin add up when they are read.
    return f"""
        WITH written AS (
            INSERT INTO {table} AS b
                (metric, dimension, at, value, shard, n, sum, squares, low, middle, high, histogram)
            SELECT {_KEY}, s.n, s.sum, 0, 0, 0, 0, s.histogram FROM staged_{table}_timed AS s
            {_CONFLICT} n = b.n + excluded.n, sum = b.sum + excluded.sum,
                histogram = b.histogram || excluded.histogram
            RETURNING metric, dimension, at, value, shard, histogram
        )
        SELECT * FROM written WHERE octet_length(histogram) > {_COMPACTED_FROM}
    """


def _compact(table: str) -> str:
    return f"""
        UPDATE {table} AS b SET histogram = u.histogram
        FROM unnest($1::int2[], $2::int2[], $3::int4[], $4::int4[], $5::int2[], $6::bytea[])
            AS u (metric, dimension, at, value, shard, histogram)
        WHERE b.metric = u.metric AND b.dimension = u.dimension AND b.at = u.at AND b.value = u.value
            AND b.shard = u.shard
    """


_STAGE = {table: _stage(table) for table in BUCKET_TABLES}
_COUNTED = {table: _counted(table) for table in BUCKET_TABLES}
_TIMED = {table: _timed(table) for table in BUCKET_TABLES}
_COMPACT = {table: _compact(table) for table in BUCKET_TABLES}


class ConcurrentChangeError(ProcessingError):
    """Another worker changed a document meanwhile; the batch is tried again on what it left behind."""


class StoredDocument(NamedTuple):
    """A document as it was read; `version` tells whether it is still so when it is written."""

    generation: int
    facts: Facts
    version: int
    booked_at: tuple[int, ...] = ()
    """Times of its observations that none of its facts has, in microseconds since 1970."""


class ChangedDocument(NamedTuple):
    """A document to be written; `version` is None for a new one."""

    id: str
    shard: int
    facts: Facts
    version: int | None
    booked_at: tuple[int, ...] = ()
    """Times of its observations that none of its facts has, in microseconds since 1970."""


async def read_documents(connection: Connection, ids: Sequence[str]) -> dict[str, StoredDocument]:
    """Read documents by id; absent ones are left out."""
    rows = await connection.fetch(_READ_DOCUMENTS, ids)
    return {
        row[0]: StoredDocument(
            row[1], decode_facts(row[2]), row[3], tuple(microseconds(at) for at in row[4] or ())
        )
        for row in rows
    }


async def write_documents(
    connection: Connection, changed: Iterable[ChangedDocument], generation: int
) -> None:
    """Write documents, in a transaction. Raises ConcurrentChangeError where one is no longer what was read."""
    # Sorted, so that neighbours in the index are written one after the other.
    records = [
        (
            document.id,
            document.shard,
            generation,
            encode_facts(document.facts),
            document.version,
            [instant(at) for at in document.booked_at] if document.booked_at else None,
        )
        for document in sorted(changed, key=_id)
    ]
    if not records:
        return
    await connection.execute(_STAGE_DOCUMENTS)
    await connection.copy_records_to_table("staged_documents", records=records, columns=_DOCUMENT_COLUMNS)
    known = sum(record[4] is not None for record in records)
    if known < len(records):
        _expect(await connection.execute(_INSERT_DOCUMENTS), len(records) - known)
    if known:
        _expect(await connection.execute(_UPDATE_DOCUMENTS), known)


def _id(document: ChangedDocument) -> str:
    return document.id


def _expect(done: str, rows: int) -> None:
    if int(done.rpartition(" ")[2]) != rows:
        raise ConcurrentChangeError("another worker changed a document of this batch")


async def append_ledger(
    connection: Connection, entries: Iterable[Entry], documents: Iterable[str], recorded_at: datetime
) -> None:
    """Append signed observations; `documents` names the document of each entry."""
    records: list[tuple[Any, ...]] = []
    append = records.append
    for (sign, (metric, value, band, at, customer, _, ticket), _, resolved), document in zip(
        entries, documents, strict=True
    ):
        append(
            (
                document,
                metric,
                sign,
                value,
                band,
                instant(at),
                customer,
                *resolved.columns,
                resolved.more,
                ticket,
                recorded_at,
            )
        )
    if records:
        await connection.copy_records_to_table("ledger", records=records, columns=_LEDGER_COLUMNS)


async def add_to_buckets(connection: Connection, table: str, rows: BucketRows) -> None:
    """Add differences to a table of buckets, in a transaction.

    Nobody else writes rows of the same shard meanwhile: the batch holds the lock of the shard's offset.
    """
    if not rows.counted and not rows.timed:
        return
    await connection.execute(_STAGE[table])
    if rows.counted:
        await connection.copy_records_to_table(
            f"staged_{table}", records=rows.counted, columns=_COUNTED_COLUMNS
        )
        await connection.execute(_COUNTED[table])
    if rows.timed:
        await connection.copy_records_to_table(
            f"staged_{table}_timed", records=rows.timed, columns=_TIMED_COLUMNS
        )
        long = await connection.fetch(_TIMED[table])
        shorter = [(*row[:5], encode_histogram(decode_histogram(row[5]))) for row in long]
        # Half of it gone pays for the rewrite; what has that many bins stays as it is until then.
        worth = [short for short, row in zip(shorter, long, strict=True) if 2 * len(short[5]) <= len(row[5])]
        if worth:
            await connection.execute(_COMPACT[table], *_columns(worth))


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
