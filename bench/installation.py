"""Scoring installed for a benchmark: a database and topics of its own, its processes, and what it has stored."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from bench.backends import Backends
from bench.broker import Written
from bench.processes import BenchError, answers, python, run, started, wait_until
from bench.workload import Encoded
from cxloop_common.topics import SCORES, SURVEYS, TICKETS
from cxloop_embedded.ports import choose

READ_BY = (TICKETS, SURVEYS)
POLL_S = 0.02
CALM_LOOKS = 5
SCHEMA = "scoring"
TOKEN = "bench-0123456789abcdef"  # noqa: S105 the token of a service that lives as long as its benchmark
T = TypeVar("T")


@dataclass(frozen=True)
class Installation:
    """Scoring with its own database and topic prefix."""

    here: Backends
    database: str
    prefix: str

    @property
    def group(self) -> str:
        """The consumer group of the workers."""
        return f"{self.prefix}cxloop-scoring"

    @property
    def topics(self) -> list[str]:
        """The topics that the benchmarks write to."""
        return [self.prefix + topic.name for topic in READ_BY]

    @property
    def log(self) -> Path:
        """What the processes said."""
        return self.here.folder / f"{self.database}.log"

    def install(self) -> None:
        """Make database, tables and topics; what was there under these names is gone."""
        self.here.execute(
            f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)", f"CREATE DATABASE {self.database}"
        )
        run(python("-m", "cxloop_common.topics", "create"), env=self._env())
        run(python("-m", "cxloop_scoring", "--role", "migrate"), env=self._env())

    @contextmanager
    def workers(self, count: int, *, snapshot_s: int = 3_600) -> Generator[list[int]]:
        """Run workers; gives their process ids.

        Without slots, so that a worker leaves its group when it ends, and the next one's joining can be seen. What
        publishes metrics reads all of them once at the start, and then not within a benchmark's time unless
        told so: its cost is a round's, not an event's.
        """
        with ExitStack() as running:
            yield [
                running.enter_context(
                    started(
                        python("-m", "cxloop_scoring", "--role", "worker"),
                        env={
                            **self._env(),
                            "CXLOOP_SCORING_PORT": "0",
                            "CXLOOP_SCORING_SNAPSHOT_S": str(snapshot_s),
                        },
                        log=self.log,
                    )
                ).pid
                for _ in range(count)
            ]

    @contextmanager
    def api(self) -> Generator[int]:
        """Run one process in the api role; gives its port."""
        port = choose(purpose="scoring")
        tokens = f'{{"tokens": [{{"name": "bench", "token": "{TOKEN}", "scopes": ["read"]}}]}}'
        env = {**self._env(), "CXLOOP_SCORING_PORT": str(port), "CXLOOP_API_TOKENS": tokens}
        command = python("-m", "cxloop_scoring", "--role", "api")
        with started(command, env=env, log=self.log) as process:
            ready = f"http://127.0.0.1:{port}/readyz"
            wait_until(lambda: answers(ready), "scoring's API", process=process, log=self.log)
            yield port

    def addressed(self, records: Iterable[Encoded]) -> Iterator[Written]:
        """Address records to this installation's topics."""
        for record in records:
            topic = self.prefix + record.topic.name
            yield Written(topic, record.key, record.value, record.headers, record.time_ms)

    def committed(self, events: int, within_s: float) -> float:
        """Wait until the offsets add up to so many; give the time (monotonic) at which they did."""
        return run_on_connection(self, lambda connection: self._committed(connection, events, within_s))

    def done(self) -> int:
        """Add up the committed offsets."""
        return int(self.ask(_DONE, self.topics))

    def settle(self) -> None:
        """Wait until no session of the service has been at work for a while. Raises BenchError."""
        calm = 0

        def at_rest() -> bool:
            nonlocal calm
            calm = 0 if self.ask(_AT_WORK) else calm + 1
            return calm >= CALM_LOOKS

        wait_until(at_rest, "the service does not come to rest", log=self.log, every_s=0.1)

    def ask(self, statement: str, *arguments: Any) -> Any:
        """Read one value."""
        return run_on_connection(self, lambda connection: connection.fetchval(statement, *arguments))

    def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        self.here.execute(f"SET search_path = {SCHEMA}", *statements, database=self.database)

    def wal_bytes(self) -> int:
        """Give the server's position in its write-ahead log."""
        return int(self.ask("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8"))

    def stored_bytes(self, table: str) -> tuple[int, int]:
        """Give what a table and its partitions take: the table itself, and its indexes."""
        return self.ask(_STORED, table), self.ask(_INDEXED, table)

    def check(self, documents: int | None) -> None:
        """See that workers did their work. Raises BenchError."""
        stored = self.ask("SELECT count(*) FROM scoring.documents")
        parked = self.ask("SELECT count(*) FROM scoring.dead_letters")
        scores = self.here.broker.log_end(self.prefix + SCORES.name)
        if (documents is not None and documents != stored) or parked or not scores:
            raise BenchError(f"{stored} of {documents} documents, {parked} parked, {scores} scores announced")

    async def connect(self) -> asyncpg.Connection:
        """Open a connection to the service's schema."""
        return await asyncpg.connect(
            self.here.url(self.database), server_settings={"search_path": SCHEMA, "jit": "off"}
        )

    async def _committed(self, connection: asyncpg.Connection, events: int, within_s: float) -> float:
        deadline = time.monotonic() + within_s
        while True:
            done = await connection.fetchval(_DONE, self.topics)
            now = time.monotonic()
            if done >= events:
                return now
            if now > deadline:
                raise BenchError(f"{done} of {events} events were committed within {within_s:.0f} s")
            await asyncio.sleep(POLL_S)

    def _env(self) -> dict[str, str]:
        return self.here.environment(database=self.database, prefix=self.prefix)


_DONE = "SELECT coalesce(sum(next_offset), 0)::int8 FROM scoring.offsets WHERE topic = ANY($1::text[])"
_AT_WORK = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND state <> 'idle'
"""
_PARTS = f"""
    FROM pg_class AS c WHERE c.relkind = 'r' AND c.relnamespace = '{SCHEMA}'::regnamespace
    AND (c.relname = $1 OR c.oid IN (
        SELECT i.inhrelid FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhparent WHERE p.relname = $1))
"""
_STORED = f"SELECT coalesce(sum(pg_table_size(c.oid)), 0)::int8 {_PARTS}"
_INDEXED = f"SELECT coalesce(sum(pg_indexes_size(c.oid)), 0)::int8 {_PARTS}"


def run_on_connection(at: Installation, work: Callable[[asyncpg.Connection], Coroutine[Any, Any, T]]) -> T:
    """Open a connection for one piece of work."""

    async def go() -> T:
        connection = await at.connect()
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(go())
