"""Writing a batch: documents, ledger and buckets, each in as few statements as its size allows."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from cxloop_common.processor import ProcessingError
from cxloop_scoring.domain.buckets import BucketRows, Entry
from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.facts import Facts, decode_facts, encode_facts
from cxloop_scoring.domain.histogram import decode_histogram, encode_histogram
from cxloop_scoring.domain.instants import instant, microseconds, rfc3339_of
from cxloop_scoring.store.connection import Connection

_READ_DOCUMENTS = "SELECT id, generation, facts, xmin, booked_at FROM documents WHERE id = ANY($1::text[])"
# Arrays of arrays must be rectangular, so lists of times travel as texts.
_INSERT_DOCUMENTS = """
    INSERT INTO documents (id, shard, generation, facts, booked_at)
    SELECT u.id, u.shard, u.generation, u.facts, u.booked_at::timestamptz[]
    FROM unnest($1::text[], $2::int2[], $3::int4[], $4::bytea[], $5::text[])
        AS u (id, shard, generation, facts, booked_at)
    ON CONFLICT (id) DO NOTHING
"""
# The row version is compared, not the row locked: two workers meet in one document only where a ticket was
# merged and its facts arrive by another topic.
_UPDATE_DOCUMENTS = """
    UPDATE documents AS d
    SET generation = u.generation, facts = u.facts, booked_at = u.booked_at::timestamptz[]
    FROM unnest($1::text[], $2::int4[], $3::bytea[], $4::text[], $5::text[])
        AS u (id, generation, facts, version, booked_at)
    WHERE d.id = u.id AND d.xmin = u.version::xid
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
    "(u.what >> 16)::int2, (u.what & 65535)::int2, (u.slot >> 32)::int4, (u.slot & 4294967295)::int4, u.shard"
)
_CONFLICT = "ON CONFLICT (metric, dimension, at, value, shard) DO UPDATE SET"


def _banded(table: str) -> str:
    return f"""
        INSERT INTO {table} AS b
            (metric, dimension, at, value, shard, n, sum, squares, low, middle, high)
        SELECT {_KEY}, u.low + u.middle + u.high, u.sum, u.squares, u.low, u.middle, u.high
        FROM unnest($1::int4[], $2::int8[], $3::int2[], $4::int8[], $5::int8[], $6::int4[], $7::int4[], $8::int4[])
            AS u (what, slot, shard, sum, squares, low, middle, high)
        {_CONFLICT} n = b.n + excluded.n, sum = b.sum + excluded.sum, squares = b.squares + excluded.squares,
            low = b.low + excluded.low, middle = b.middle + excluded.middle, high = b.high + excluded.high
    """


def _plain(table: str) -> str:
    return f"""
        INSERT INTO {table} AS b
            (metric, dimension, at, value, shard, n, sum, squares, low, middle, high)
        SELECT {_KEY}, u.n, u.sum, u.squares, 0, 0, 0
        FROM unnest($1::int4[], $2::int8[], $3::int2[], $4::int4[], $5::int8[], $6::int8[])
            AS u (what, slot, shard, n, sum, squares)
        {_CONFLICT} n = b.n + excluded.n, sum = b.sum + excluded.sum, squares = b.squares + excluded.squares
    """


def _timed(table: str) -> str:
    # Histograms are appended, not read and added up: pairs of one bin add up when they are read.
    return f"""
        WITH written AS (
            INSERT INTO {table} AS b
                (metric, dimension, at, value, shard, n, sum, squares, low, middle, high, histogram)
            SELECT {_KEY}, u.n, u.sum, 0, 0, 0, 0, u.histogram
            FROM unnest($1::int4[], $2::int8[], $3::int2[], $4::int4[], $5::int8[], $6::bytea[])
                AS u (what, slot, shard, n, sum, histogram)
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


_BANDED = {table: _banded(table) for table in BUCKET_TABLES}
_PLAIN = {table: _plain(table) for table in BUCKET_TABLES}
_TIMED = {table: _timed(table) for table in BUCKET_TABLES}
_COMPACT = {table: _compact(table) for table in BUCKET_TABLES}


class ConcurrentChangeError(ProcessingError):
    """Another worker changed a document meanwhile; the batch is tried again on what it left behind."""


class StoredDocument(NamedTuple):
    """A document as it was read; `version` tells whether it is still so when it is written."""

    generation: int
    facts: Facts
    version: str
    booked_at: tuple[int, ...] = ()
    """Times of its observations that none of its facts has, in microseconds since 1970."""


class ChangedDocument(NamedTuple):
    """A document to be written; `version` is None for a new one."""

    id: str
    shard: int
    facts: Facts
    version: str | None
    booked_at: tuple[int, ...] = ()
    """Times of its observations that none of its facts has, in microseconds since 1970."""


async def read_documents(connection: Connection, ids: Sequence[str]) -> dict[str, StoredDocument]:
    """Read documents by id; absent ones are left out."""
    rows = await connection.fetch(_READ_DOCUMENTS, ids)
    return {
        row[0]: StoredDocument(
            row[1], decode_facts(row[2]), str(row[3]), tuple(microseconds(at) for at in row[4] or ())
        )
        for row in rows
    }


def _times(document: ChangedDocument) -> str | None:
    if not document.booked_at:
        return None
    return f"{{{','.join(rfc3339_of(at) for at in document.booked_at)}}}"


async def write_documents(
    connection: Connection, changed: Iterable[ChangedDocument], generation: int
) -> None:
    """Write documents. Raises ConcurrentChangeError where one is no longer what was read."""
    ordered = sorted(changed)
    new = [document for document in ordered if document.version is None]
    known = [document for document in ordered if document.version is not None]
    if new:
        done = await connection.execute(
            _INSERT_DOCUMENTS,
            [document.id for document in new],
            [document.shard for document in new],
            [generation] * len(new),
            [encode_facts(document.facts) for document in new],
            [_times(document) for document in new],
        )
        _expect(done, len(new))
    if known:
        done = await connection.execute(
            _UPDATE_DOCUMENTS,
            [document.id for document in known],
            [generation] * len(known),
            [encode_facts(document.facts) for document in known],
            [document.version for document in known],
            [_times(document) for document in known],
        )
        _expect(done, len(known))


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
    """Add differences to a table of buckets.

    Nobody else writes rows of the same shard meanwhile: the batch holds the lock of the shard's offset.
    """
    if rows.banded:
        await connection.execute(_BANDED[table], *_columns(rows.banded))
    if rows.plain:
        await connection.execute(_PLAIN[table], *_columns(rows.plain))
    if rows.timed:
        long = await connection.fetch(_TIMED[table], *_columns(rows.timed))
        shorter = [(*row[:5], encode_histogram(decode_histogram(row[5]))) for row in long]
        # Half of it gone pays for the rewrite; what has that many bins stays as it is until then.
        worth = [short for short, row in zip(shorter, long, strict=True) if 2 * len(short[5]) <= len(row[5])]
        if worth:
            await connection.execute(_COMPACT[table], *_columns(worth))


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
