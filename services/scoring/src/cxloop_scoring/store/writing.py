"""Writing a batch: documents, ledger and buckets, each in as few statements as its size allows."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from cxloop_common.processor import ProcessingError
from cxloop_scoring.domain.buckets import BucketRow, Entry
from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.facts import Facts, decode_facts, encode_facts
from cxloop_scoring.domain.histogram import (
    Histogram,
    add_histogram,
    decode_histogram,
    encode_histogram,
)
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.store.connection import Connection

_READ_DOCUMENTS = "SELECT id, generation, facts, xmin FROM documents WHERE id = ANY($1::text[])"
_INSERT_DOCUMENTS = """
    INSERT INTO documents (id, shard, generation, facts)
    SELECT * FROM unnest($1::text[], $2::int2[], $3::int4[], $4::bytea[])
    ON CONFLICT (id) DO NOTHING
"""
# The row version is compared, not the row locked: two workers meet in one document only where a ticket was
# merged and its facts arrive by another topic.
_UPDATE_DOCUMENTS = """
    UPDATE documents AS d SET generation = u.generation, facts = u.facts
    FROM unnest($1::text[], $2::int4[], $3::bytea[], $4::text[]) AS u (id, generation, facts, version)
    WHERE d.id = u.id AND d.xmin = u.version::xid
"""
_LEDGER_COLUMNS = (
    *("document", "metric", "sign", "value", "band", "at", "customer"),
    *COLUMNS,
    *("more", "recorded_at"),
)

_BUCKET_COLUMNS = "metric, dimension, at, value, shard, n, sum, squares, low, middle, high, histogram"


def _upsert(table: str) -> str:
    return f"""
        INSERT INTO {table} AS b ({_BUCKET_COLUMNS})
        SELECT * FROM unnest(
            $1::int2[], $2::int2[], $3::int4[], $4::int4[], $5::int2[], $6::int4[], $7::int8[], $8::int8[],
            $9::int4[], $10::int4[], $11::int4[], $12::bytea[])
        ON CONFLICT (metric, dimension, at, value, shard) DO UPDATE SET
            n = b.n + excluded.n, sum = b.sum + excluded.sum, squares = b.squares + excluded.squares,
            low = b.low + excluded.low, middle = b.middle + excluded.middle, high = b.high + excluded.high,
            histogram = excluded.histogram
    """


def _histograms(table: str) -> str:
    return f"""
        SELECT asked.place, b.histogram
        FROM unnest($1::int2[], $2::int2[], $3::int4[], $4::int4[], $5::int2[])
            WITH ORDINALITY AS asked (metric, dimension, at, value, shard, place)
        JOIN {table} AS b USING (metric, dimension, at, value, shard)
        WHERE b.histogram IS NOT NULL
    """


BUCKET_TABLES = ("bucket_hour", "bucket_day")
_UPSERTS = {table: _upsert(table) for table in BUCKET_TABLES}
_HISTOGRAMS = {table: _histograms(table) for table in BUCKET_TABLES}


class ConcurrentChangeError(ProcessingError):
    """Another worker changed a document meanwhile; the batch is tried again on what it left behind."""


class StoredDocument(NamedTuple):
    """A document as it was read; `version` tells whether it is still so when it is written."""

    generation: int
    facts: Facts
    version: str


class ChangedDocument(NamedTuple):
    """A document to be written; `version` is None for a new one."""

    id: str
    shard: int
    facts: Facts
    version: str | None


async def read_documents(connection: Connection, ids: Sequence[str]) -> dict[str, StoredDocument]:
    """Read documents by id; absent ones are left out."""
    rows = await connection.fetch(_READ_DOCUMENTS, ids)
    return {row[0]: StoredDocument(row[1], decode_facts(row[2]), str(row[3])) for row in rows}


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
        )
        _expect(done, len(new))
    if known:
        done = await connection.execute(
            _UPDATE_DOCUMENTS,
            [document.id for document in known],
            [generation] * len(known),
            [encode_facts(document.facts) for document in known],
            [document.version for document in known],
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
    for (sign, (metric, value, band, at, customer, _), _, resolved), document in zip(
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
                recorded_at,
            )
        )
    if records:
        await connection.copy_records_to_table("ledger", records=records, columns=_LEDGER_COLUMNS)


async def add_to_buckets(connection: Connection, table: str, rows: Sequence[BucketRow]) -> None:
    """Add differences, sorted by key, to a table of buckets.

    Numbers are added where the row lies; histograms are read, added here and written back. Nobody else writes
    rows of the same shard meanwhile: the batch holds the lock of the shard's offset.
    """
    if not rows:
        return
    timed = [row for row in rows if row.histogram is not None]
    merged = await _merged_histograms(connection, table, timed) if timed else []
    histograms = iter(merged)
    written = [None if row.histogram is None else next(histograms) for row in rows]
    columns = [list(column) for column in zip(*rows, strict=True)][:-1]
    await connection.execute(_UPSERTS[table], *columns, written)


async def _merged_histograms(connection: Connection, table: str, timed: Sequence[BucketRow]) -> list[bytes]:
    keys = [list(column) for column in zip(*timed, strict=True)][:5]
    rows = await connection.fetch(_HISTOGRAMS[table], *keys)
    found: dict[int, bytes] = {row[0]: row[1] for row in rows}
    merged: list[bytes] = []
    for place, row in enumerate(timed, start=1):
        added = row.histogram or {}
        held = found.get(place)
        if held is not None:
            total: Histogram = decode_histogram(held)
            add_histogram(total, added)
            added = total
        merged.append(encode_histogram(added))
    return merged
