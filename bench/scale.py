"""What an event costs one worker when ten and twenty times as many documents are there already.

A log of a day is cut into pieces. The first makes a base; each database then gets copies of the base's documents,
ledger rows and buckets, by SQL: under other ids, scattered over the tables so that a document's neighbours say
nothing about it, and days earlier in ledger and buckets. The other pieces, which go on with the base's documents
and begin new ones, are read by one worker in each database in turn, from the smallest to the largest: the same
events each time.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import asyncpg

from bench import workload
from bench.backends import Backends, backends
from bench.holding import Run, held
from bench.installation import Installation, run_on_connection
from bench.report import Figure, Result, Target
from bench.workload import Encoded

RUN_WITHIN_S = 180.0
LIMIT = 1.2
DAYS_BACK = 30
"""Copies lie on so many days before the base."""
APART = 3
"""Days between two copies: the base's day may begin and end in two, and no two copies are to meet in a bucket."""
PREFIX = "scale-"


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    sizes: Sequence[int] = (100_000, 1_000_000, 2_000_000)
    base_events: int = 60_000
    piece_events: int = 30_000
    repeats: int = 5


QUICK = Plan(sizes=(2_000, 6_000), base_events=2_000, piece_events=1_000, repeats=1)


@dataclass
class _Size:
    """One database and what the rounds in it found."""

    documents: int
    at: Installation
    runs: list[Run] = field(default_factory=list[Run])
    wal_bytes: list[float] = field(default_factory=list[float])

    def figures(self) -> list[Figure]:
        wall = [run.seconds / run.events * 1e6 for run in self.runs]
        return [
            Figure(f"{self.documents:,} documents", "us/event", wall),
            Figure("  CPU, worker", "us/event", [run.consumer_us for run in self.runs]),
            Figure("  CPU, PostgreSQL", "us/event", [run.postgres_us for run in self.runs]),
            Figure("  write-ahead log", "bytes/event", self.wal_bytes),
        ]


def measure(plan: Plan | None = None) -> Result:
    """Run the benchmark. Raises BenchError."""
    plan = plan or Plan()
    pieces = _pieces(plan)
    with backends() as here:
        base = Installation(here, "base", PREFIX)
        base.install()
        with base.workers(1):
            here.broker.write(base.addressed(pieces[0]))
            base.committed(len(pieces[0]), RUN_WITHIN_S)
        began = time.monotonic()
        sizes = [_grown(base, documents) for documents in plan.sizes]
        filled_s = time.monotonic() - began
        here.execute("CHECKPOINT")
        for number, piece in enumerate(pieces[1:]):
            for size in sizes:
                run, wal_bytes = _read(size.at, piece)
                if number:  # the first is to warm up
                    size.runs.append(run)
                    size.wal_bytes.append(wal_bytes)
        for size in sizes:
            size.at.check(None)
    ratios = [_ratio(size, sizes[0]) for size in sizes[1:]]
    made = (
        f"The documents are copies, made by SQL in {filled_s:.0f} s, of what a worker made of "
        f"{len(pieces[0]):,} events; one checkpoint was made after that."
    )
    return Result(
        "scale",
        f"one worker, {plan.repeats} rounds of {plan.piece_events:,} events in each database",
        [*(figure for size in sizes for figure in size.figures()), *ratios],
        [Target(ratios[-1], "under", LIMIT)],
        [made],
    )


def _pieces(plan: Plan) -> list[list[Encoded]]:
    """Cut a day's log into a base, a piece to warm up with, and the rounds."""
    wanted = plan.base_events + plan.piece_events * (plan.repeats + 1)
    records = workload.make(wanted, span=timedelta(days=1)).records
    cuts = [
        0,
        *range(len(records) - plan.piece_events * (plan.repeats + 1), len(records) + 1, plan.piece_events),
    ]
    return [records[begin:until] for begin, until in itertools.pairwise(cuts)]


def _ratio(size: _Size, smallest: _Size) -> Figure:
    ratios = [a.seconds / b.seconds for a, b in zip(size.runs, smallest.runs, strict=True)]
    return Figure(f"cost of an event, {size.documents:,} / {smallest.documents:,}", "", ratios)


def _read(at: Installation, piece: Sequence[Encoded]) -> tuple[Run, float]:
    """Let a worker of this database read a piece; give the run and the bytes of write-ahead log an event."""
    here: Backends = at.here
    # The others have read on meanwhile: this database begins where the log ends now.
    ends = [(topic, number, end) for topic in at.topics for number, end in here.broker.ends(topic)]
    run_on_connection(at, lambda connection: _move(connection, ends))
    events = at.done() + len(piece)
    with at.workers(1) as pids, held(here, at.group, pids, len(piece), at.log, settle=at.settle) as let_go:
        here.broker.write(at.addressed(piece))
        before = at.wal_bytes()
        run = let_go(lambda: (None, at.committed(events, RUN_WITHIN_S)))
        return run, (at.wal_bytes() - before) / len(piece)


async def _move(connection: asyncpg.Connection, ends: Sequence[tuple[str, int, int]]) -> None:
    await connection.executemany(
        "UPDATE offsets SET next_offset = $3 WHERE topic = $1 AND partition = $2", ends
    )


def _grown(base: Installation, documents: int) -> _Size:
    """Copy the base's database, and its contents in it until there are so many documents."""
    at = replace(base, database=f"with_{documents}")
    base.here.execute(
        f"DROP DATABASE IF EXISTS {at.database} WITH (FORCE)",
        f"CREATE DATABASE {at.database} TEMPLATE {base.database}",
    )
    asyncio.run(_grow(at, documents))
    return _Size(documents, at)


async def _grow(at: Installation, documents: int) -> None:
    connection = await at.connect()
    try:
        held_now = int(await connection.fetchval("SELECT count(*) FROM documents"))
        copies = max(0, round(documents / held_now) - 1)
        index = await connection.fetchval(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'ledger'::regclass"
        )
        columns = {
            table: ", ".join(
                row[0]
                for row in await connection.fetch(
                    "SELECT column_name FROM information_schema.columns "
                    "WHERE table_schema = current_schema AND table_name = $1 ORDER BY ordinal_position",
                    table,
                )
            )
            for table in ("documents", "ledger", "bucket_hour", "bucket_day")
        }
        back = f"{APART} * (1 + number % {DAYS_BACK // APART}) AS back"
        numbers = f"SELECT number, {back} FROM generate_series(1, {copies}) AS number"
        for statement in (
            "SET maintenance_work_mem = '256MB'",
            "SET work_mem = '128MB'",
            f"DROP INDEX {index.split()[2]}",  # sorting is quicker than a million insertions
            f"CREATE TEMP TABLE copy_numbers AS {numbers}",
            *_documents(columns["documents"]),
            _ledger(columns["ledger"]),
            _buckets("bucket_hour", columns["bucket_hour"], 24),
            _buckets("bucket_day", columns["bucket_day"], 1),
            index,
            "VACUUM ANALYZE",
        ):
            await connection.execute(statement)
    finally:
        await connection.close()


def _id(column: str) -> str:
    """Write a copy's document id: kind and source stay, the rest is another."""
    return (
        f"split_part({column}, ':', 1) || ':' || split_part({column}, ':', 2) || ':' || "
        f"left(md5({column} || n.number), 16)"
    )


def _documents(columns: str) -> list[str]:
    others = columns.removeprefix("id, ")
    copies = f"SELECT {_id('id')}, {others} FROM documents, copy_numbers AS n"
    return [
        f"CREATE TEMP TABLE scattered AS SELECT {columns} FROM documents UNION ALL {copies}",
        "TRUNCATE documents",
        f"INSERT INTO documents ({columns}) SELECT {columns} FROM scattered ORDER BY hashtext(id)",
        "DROP TABLE scattered",
    ]


def _ledger(columns: str) -> str:
    values = columns.replace("document", _id("document"), 1)
    values = values.replace(" at,", " at - n.back * interval '1 day',", 1)
    return f"INSERT INTO ledger ({columns}) SELECT {values} FROM ledger, copy_numbers AS n"


def _buckets(table: str, columns: str, a_day: int) -> str:
    """Copy buckets: what falls on one day is added up there, a histogram by repeating it."""
    sums = ("n", "sum", "squares", "low", "middle", "high")
    values = [
        f"at - d.back * {a_day}"
        if name == "at"
        else f"{name} * d.times"
        if name in sums
        else f"decode(repeat(encode({name}, 'hex'), d.times::int4), 'hex')"
        if name == "histogram"
        else name
        for name in columns.split(", ")
    ]
    days = "SELECT back, count(*) AS times FROM copy_numbers GROUP BY back"
    return f"INSERT INTO {table} ({columns}) SELECT {', '.join(values)} FROM {table}, ({days}) AS d"
