"""The scoring worker's handler alone: batches in memory, a real PostgreSQL, no Kafka.

`python -m bench.handler [--against FOLDER ...] [--hours 24] [--rounds 5]` measures this checkout and, in turns with
it, others (folders that hold one): what a change of the hot path is worth, within a minute. Each run is a process
of its own on an empty database; the events are those of the scoring benchmark. `--profile` shows where the time goes.
"""

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from bench import workload
from bench.backends import PARTITIONS
from cxloop_common.kafka.records import Message, Partition, Record
from cxloop_common.processor import Batch, Handler
from cxloop_common.service import make_foundation
from cxloop_common.topics import SURVEYS, TICKETS
from cxloop_embedded import EmbeddedPostgres
from cxloop_scoring.app import SERVICE
from cxloop_scoring.settings import ScoringSettings
from cxloop_scoring.store.months import make_months

ROOT = Path(__file__).resolve().parents[1]
SHARDS = {
    Partition(topic.name, number): shard
    for shard, (topic, number) in enumerate((t, n) for t in (TICKETS, SURVEYS) for n in range(PARTITIONS))
}
PROFILED_LINES = 45


class _Open:
    """The transaction of one batch; what is published is counted."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.published = 0

    def publish(self, messages: Sequence[Message]) -> None:
        """Count messages."""
        self.published += len(messages)

    def enqueue(self, messages: Sequence[Message]) -> None:
        """Count messages."""
        self.published += len(messages)


def _batches(events: int, hours: float, size: int) -> list[list[Record]]:
    made = workload.make(events, span=timedelta(hours=hours)).records
    records = [
        Record(
            record.topic.name,
            zlib.crc32(record.key) % PARTITIONS,
            offset,
            record.key,
            record.value,
            dict(record.headers),
            timestamp_ms=record.time_ms,
        )
        for offset, record in enumerate(made)
    ]
    return [records[start : start + size] for start in range(0, len(records), size)]


async def _run(batches: Sequence[Sequence[Record]], profiler: cProfile.Profile | None) -> dict[str, float]:
    """Process all batches; give microseconds an event, wall and of this process, and how much was published."""
    settings = ScoringSettings()  # pyright: ignore[reportCallIssue]  # required fields come from the environment
    foundation = make_foundation(SERVICE, settings)
    processor = SERVICE.build(foundation).processors[0]
    handler: Handler = processor._handler  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # wired as the service wires it
    await foundation.database.migrate(SERVICE.migrations)
    await make_months(foundation.database, foundation.now())
    connection = await foundation.database.connect()
    published = 0
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)  # as a service sets it
    if profiler is not None:
        profiler.enable()
    began, used = time.perf_counter(), time.process_time()
    for records in batches:
        async with connection.transaction():
            transaction = _Open(connection)
            await handler.handle(Batch(records, SHARDS), transaction)
        published += transaction.published
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    if profiler is not None:
        profiler.disable()
    events = sum(map(len, batches))
    checked = {
        name: int(await connection.fetchval(statement))
        for name, statement in (
            ("documents", "SELECT count(*) FROM documents"),
            ("observations", "SELECT sum(sign) FROM ledger"),
            ("counted", "SELECT sum(n) FROM bucket_day"),
        )
    }
    await connection.close()
    await foundation.database.close()
    return {
        "wall": wall / events * 1e6,
        "cpu": cpu / events * 1e6,
        "published": published,
        **checked,
    }


def _child(given: argparse.Namespace) -> None:
    batches = _batches(given.events, given.hours, given.batch)
    profiler = cProfile.Profile() if given.profile else None
    found = asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_run(batches, profiler))
    if profiler is not None:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(PROFILED_LINES)
    print(json.dumps(found))


def _spawn(checkout: Path, url: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run one round on an empty database, with the sources of a checkout."""

    async def empty() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("DROP SCHEMA IF EXISTS scoring CASCADE")
        await connection.execute("CHECKPOINT")
        await connection.close()

    asyncio.run(empty())
    sources = [checkout, *sorted(checkout.glob("*/*/src")), checkout / "cli" / "src"]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--child", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, sources)),
            "CXLOOP_DATABASE_URL": url,
            "CXLOOP_KAFKA_BOOTSTRAP": "127.0.0.1:9",
        },
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])  # the lines before are the service's log


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.handler")
    parser.add_argument("--against", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--batch", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _child(given)
        return
    arguments = [f"--events={given.events}", f"--hours={given.hours}", f"--batch={given.batch}"]
    arguments += ["--profile"] if given.profile else []
    sides = [*(folder.resolve() for folder in given.against), ROOT]
    found: dict[Path, list[dict[str, Any]]] = {side: [] for side in sides}
    with EmbeddedPostgres(Path.cwd() / ".cxloop" / "bench-handler") as postgres:
        for _ in range(given.rounds):
            for side in sides:
                found[side].append(_spawn(side, postgres.url, arguments))
    for side, rounds in found.items():
        wall, cpu = (statistics.median(run[name] for run in rounds) for name in ("wall", "cpu"))
        least = min(run["cpu"] for run in rounds)
        kept = {name: rounds[0][name] for name in ("published", "documents", "observations", "counted")}
        print(f"{side}: {wall:.1f} us/event wall, {cpu:.1f} CPU of Python (least {least:.1f}); {kept}")


if __name__ == "__main__":
    main()
