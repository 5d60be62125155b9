"""Writing a batch: documents, ledger and buckets, each in as few statements as its size allows."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from cxloop_common.processor import ProcessingError
from cxloop_scoring.domain.buckets import BucketRows, Entry
from cxloop_scoring.domain.facts import Facts, decode_facts, encode_facts
from cxloop_scoring.domain.histogram import decode_histogram, encode_histogram
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.store.connection import Connection
from cxloop_scoring.store.ledger_rows import LEDGER_COLUMNS, encode_rows

_READ_DOCUMENTS = "SELECT id, generation, facts, xmin, booked_at FROM documents WHERE id = ANY($1::text[])"
# Many rows come by COPY into tables of the session and go on by one statement: as arrays, their values would take
# five times as long to encode. These statements have no parameters, so that each is planned for what there is.
# A few rows come as arrays: each of these tables, once touched, is emptied when the transaction ends, all of them
# take 1.6 ms, and every statement more is another wait for its turn on a busy machine.
FEW = 1_000
"""Rows that still come as arrays."""
_BY_INDEX = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
"""Staging tables have no statistics: joined by hash, each batch would scan the whole of what it adds to."""
_AS_BEFORE = "SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT"
_STAGE_DOCUMENTS = f"""
    {_BY_INDEX};
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_documents (
        id text COLLATE "C", shard int2, generation int4, facts bytea, version xid, booked_at timestamptz[]
    ) ON COMMIT DELETE ROWS;
    DELETE FROM staged_documents
"""
_DOCUMENT_COLUMNS = ("id", "shard", "generation", "facts", "version", "booked_at")


def _documents(staged: str) -> str:
    # The row version is compared, not the row locked: two workers meet in one document only where a ticket was
    # merged and its facts arrive by another topic.
    return f"""
        MERGE INTO documents AS d USING {staged} ON d.id = s.id AND d.xmin = s.version
        WHEN MATCHED THEN
            UPDATE SET generation = s.generation, facts = s.facts, booked_at = s.booked_at
        WHEN NOT MATCHED AND s.version IS NULL THEN
            INSERT (id, shard, generation, facts, booked_at)
            VALUES (s.id, s.shard, s.generation, s.facts, s.booked_at)
    """


_MERGE_DOCUMENTS = _documents("staged_documents AS s")
# An array of arrays has rows of one length: times come as the text of an array.
_MERGE_FEW_DOCUMENTS = _documents("""(
    SELECT id, shard, generation, facts, version, booked_at::timestamptz[] AS booked_at
    FROM unnest($1::text[], $2::int2[], $3::int4[], $4::bytea[], $5::xid[], $6::text[])
        AS u (id, shard, generation, facts, version, booked_at)
) AS s""")

BUCKET_TABLES = ("bucket_hour", "bucket_day")
_COMPACTED_FROM = 4096
"""Bytes from which a histogram's pairs are added up into one pair a bin."""

_KEY = """
    (s.what >> 16)::int2 AS metric, (s.what & 65535)::int2 AS dimension, (s.slot >> 32)::int4 AS at,
    (s.slot & 4294967295)::int4 AS value, s.shard
"""
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
        CREATE TEMPORARY TABLE IF NOT EXISTS long_{table} (
            metric int2, dimension int2, at int4, value int4, shard int2, histogram bytea
        ) ON COMMIT DELETE ROWS;
        DELETE FROM staged_{table};
        DELETE FROM staged_{table}_timed;
        DELETE FROM long_{table}
    """


def _counted_few(table: str) -> str:
    return f"""
        INSERT INTO {table} AS b (metric, dimension, at, value, shard, n, sum, squares, low, middle, high)
        SELECT {_KEY}, s.n, s.sum, s.squares, s.low, s.middle, s.high
        FROM unnest(
            $1::int4[], $2::int8[], $3::int2[], $4::int4[], $5::int8[], $6::int8[], $7::int4[], $8::int4[], $9::int4[]
        ) AS s ({", ".join(_COUNTED_COLUMNS)})
        {_CONFLICT} n = b.n + excluded.n, sum = b.sum + excluded.sum, squares = b.squares + excluded.squares,
            low = b.low + excluded.low, middle = b.middle + excluded.middle, high = b.high + excluded.high
    """


def _counted(table: str) -> str:
    # MERGE costs less than INSERT ... ON CONFLICT, and a third less write-ahead log, for it locks no rows first.
    return f"""
        MERGE INTO {table} AS b USING (
            SELECT {_KEY}, s.n, s.sum, s.squares, s.low, s.middle, s.high FROM staged_{table} AS s
        ) AS s
        ON b.metric = s.metric AND b.dimension = s.dimension AND b.at = s.at AND b.value = s.value
            AND b.shard = s.shard
        WHEN MATCHED THEN UPDATE SET n = b.n + s.n, sum = b.sum + s.sum, squares = b.squares + s.squares,
            low = b.low + s.low, middle = b.middle + s.middle, high = b.high + s.high
        WHEN NOT MATCHED THEN
            INSERT (metric, dimension, at, value, shard, n, sum, squares, low, middle, high)
            VALUES (s.metric, s.dimension, s.at, s.value, s.shard, s.n, s.sum, s.squares, s.low, s.middle, s.high)
    """


def _timed(table: str, staged: str) -> str:
    # Histograms are appended, not read and added up: pairs of one bin add up when they are read.
    return f"""
        INSERT INTO {table} AS b
            (metric, dimension, at, value, shard, n, sum, squares, low, middle, high, histogram)
        SELECT {_KEY}, s.n, s.sum, 0, 0, 0, 0, s.histogram FROM {staged}
        {_CONFLICT} n = b.n + excluded.n, sum = b.sum + excluded.sum,
            histogram = b.histogram || excluded.histogram
        RETURNING metric, dimension, at, value, shard, histogram
    """


_LENGTHY = f"SELECT * FROM written WHERE octet_length(histogram) > {_COMPACTED_FROM}"


def _timed_many(table: str) -> str:
    written = _timed(table, f"staged_{table}_timed AS s")
    return f"WITH written AS ({written}) INSERT INTO long_{table} {_LENGTHY}"


def _timed_few(table: str) -> str:
    columns = ", ".join(_TIMED_COLUMNS)
    arrays = "$1::int4[], $2::int8[], $3::int2[], $4::int4[], $5::int8[], $6::bytea[]"
    return f"WITH written AS ({_timed(table, f'unnest({arrays}) AS s ({columns})')}) {_LENGTHY}"


def _compact(table: str) -> str:
    return f"""
        UPDATE {table} AS b SET histogram = u.histogram
        FROM unnest($1::int2[], $2::int2[], $3::int4[], $4::int4[], $5::int2[], $6::bytea[])
            AS u (metric, dimension, at, value, shard, histogram)
        WHERE b.metric = u.metric AND b.dimension = u.dimension AND b.at = u.at AND b.value = u.value
            AND b.shard = u.shard
    """


_STAGE = {table: _stage(table) for table in BUCKET_TABLES}
_MERGE = {
    table: f"{_BY_INDEX}; {_counted(table)}; {_timed_many(table)}; {_AS_BEFORE}" for table in BUCKET_TABLES
}
_LONG = {table: f"SELECT * FROM long_{table}" for table in BUCKET_TABLES}
_COUNTED_FEW = {table: _counted_few(table) for table in BUCKET_TABLES}
_TIMED_FEW = {table: _timed_few(table) for table in BUCKET_TABLES}
_COMPACT = {table: _compact(table) for table in BUCKET_TABLES}


class ConcurrentChangeError(ProcessingError):
    """Another worker changed a document meanwhile; the batch is tried again on what it left behind."""


class StoredDocument(msgspec.Struct, frozen=True, gc=False):
    """A document as it was read; `version` tells whether it is still so when it is written."""

    generation: int
    facts: Facts
    version: int
    booked_at: tuple[int, ...] = ()
    """Times of its observations that none of its facts has, in microseconds since 1970."""
    encoded: bytes = b""
    """Its facts as they were read."""


class ChangedDocument(msgspec.Struct, frozen=True, gc=False):
    """A document to be written; `version` is None for a new one."""

    id: str
    shard: int
    facts: Facts
    version: int | None
    booked_at: tuple[int, ...] = ()
    """Times of its observations that none of its facts has, in microseconds since 1970."""
    encoded: bytes | None = None
    """Its facts as they are written, where somebody has encoded them already."""


class StagedDocuments(msgspec.Struct, frozen=True, gc=False):
    """Documents on their way."""

    facts: dict[str, bytes]
    """The facts of each as they will be read."""
    few: list[list[Any]] | None
    """Their columns, where they are few; else they are in the staging table."""


class StagedBuckets(msgspec.Struct, frozen=True, gc=False):
    """Differences on their way."""

    table: str
    few: BucketRows | None
    """The rows, where they are few; else they are in the staging tables."""


async def read_documents(connection: Connection, ids: Sequence[str]) -> dict[str, StoredDocument]:
    """Read documents by id; absent ones are left out."""
    rows = await connection.fetch(_READ_DOCUMENTS, ids)
    return {
        row[0]: StoredDocument(
            row[1], decode_facts(row[2]), row[3], tuple(microseconds(at) for at in row[4] or ()), row[2]
        )
        for row in rows
    }


async def write_documents(
    connection: Connection, changed: Iterable[ChangedDocument], generation: int
) -> None:
    """Write documents, in a transaction. Raises ConcurrentChangeError where one is no longer what was read."""
    await merge_documents(connection, await stage_documents(connection, changed, generation))


async def stage_documents(
    connection: Connection, changed: Iterable[ChangedDocument], generation: int
) -> StagedDocuments:
    """Bring documents as far as the staging table, or have them ready where they are few."""
    # Sorted, so that neighbours in the index are written one after the other.
    records = [
        (
            document.id,
            document.shard,
            generation,
            document.encoded or encode_facts(document.facts),
            document.version,
            [instant(at) for at in document.booked_at] if document.booked_at else None,
        )
        for document in sorted(changed, key=_id)
    ]
    facts = {record[0]: record[3] for record in records}
    if len(records) <= FEW:
        few = _columns(records)
        if few:
            few[-1] = [times and "{" + ",".join(at.isoformat() for at in times) + "}" for times in few[-1]]
        return StagedDocuments(facts, few)
    await connection.execute(_STAGE_DOCUMENTS)
    await connection.copy_records_to_table("staged_documents", records=records, columns=_DOCUMENT_COLUMNS)
    return StagedDocuments(facts, None)


async def merge_documents(connection: Connection, staged: StagedDocuments) -> None:
    """Write what is staged. Raises ConcurrentChangeError as `write_documents` does."""
    if not staged.facts:
        return
    try:
        if staged.few is None:
            done = await connection.execute(_MERGE_DOCUMENTS)
        else:
            done = await connection.execute(_MERGE_FEW_DOCUMENTS, *staged.few)
    except asyncpg.UniqueViolationError as error:
        raise ConcurrentChangeError("another worker began a document of this batch") from error
    if int(done.rpartition(" ")[2]) != len(staged.facts):
        raise ConcurrentChangeError("another worker changed a document of this batch")


def _id(document: ChangedDocument) -> str:
    return document.id


async def append_ledger(
    connection: Connection, entries: Sequence[Entry], documents: Iterable[str], recorded_at: datetime
) -> None:
    """Append signed observations; `documents` names the document of each entry."""
    if entries:
        rows = encode_rows(entries, documents, recorded_at)
        await connection.copy_to_table(
            "ledger",
            source=rows,  # pyright: ignore[reportArgumentType]  # its documentation allows any buffer, its types do not
            columns=LEDGER_COLUMNS,
            format="binary",
        )


async def add_to_buckets(connection: Connection, table: str, rows: BucketRows) -> None:
    """Add differences to a table of buckets, in a transaction.

    Nobody else writes rows of the same shard meanwhile: the batch holds the lock of the shard's offset.
    """
    await merge_buckets(connection, await stage_buckets(connection, table, rows))


async def stage_buckets(connection: Connection, table: str, rows: BucketRows) -> StagedBuckets:
    """Bring differences as far as the staging tables, or have them ready where they are few."""
    if len(rows.counted) + len(rows.timed) <= FEW:
        return StagedBuckets(table, rows)
    await connection.execute(_STAGE[table])
    await connection.copy_records_to_table(f"staged_{table}", records=rows.counted, columns=_COUNTED_COLUMNS)
    await connection.copy_records_to_table(
        f"staged_{table}_timed", records=rows.timed, columns=_TIMED_COLUMNS
    )
    return StagedBuckets(table, None)


async def merge_buckets(connection: Connection, staged: StagedBuckets) -> None:
    """Add what is staged to the buckets."""
    table, few, long = staged.table, staged.few, []
    if few is None:
        await connection.execute(_MERGE[table])
        long = await connection.fetch(_LONG[table])
    else:
        if few.counted:
            await connection.execute(_COUNTED_FEW[table], *_columns(few.counted))
        if few.timed:
            long = await connection.fetch(_TIMED_FEW[table], *_columns(few.timed))
    if long:
        shorter = [(*row[:5], encode_histogram(decode_histogram(row[5]))) for row in long]
        # Half of it gone pays for the rewrite; what has that many bins stays as it is until then.
        worth = [short for short, row in zip(shorter, long, strict=True) if 2 * len(short[5]) <= len(row[5])]
        if worth:
            await connection.execute(_COMPACT[table], *_columns(worth))


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
