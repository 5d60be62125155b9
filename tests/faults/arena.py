"""One run: a database and topics of its own, workers under supervision, load, and the reckoning at its end."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import asyncpg

from cxloop_embedded import StoredPorts
from tests.faults import checks, ledger, state
from tests.faults.checks import Invariant, Violation
from tests.faults.ground import (
    DEAD_LETTERS,
    DELIVERIES,
    JOURNEYS,
    PARTITIONS,
    SCORES,
    SCORING_LINKS,
    SURVEYS,
    TICKETS,
    Ground,
)
from tests.faults.mutants import Mutant
from tests.faults.wire import Eye, LogRecord, Outgoing, Sender, WireError
from tests.faults.workers import Worker

RECOVERY_S = 60.0
TICK_S = 0.05
RESTART_S = 0.2
INPUTS = (TICKETS.name, SURVEYS.name)
STEPS = {
    "scoring": (INPUTS, (SCORING_LINKS.name,)),
    "tally": (INPUTS,),
    "ingest": ((DELIVERIES.name,),),
}
"""What each subject reads; what one step leads to is in the topics of the next."""
TROUBLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    WireError,
)
"""What looking at a broker or database that comes and goes may raise."""

Report = Callable[[str], None]


@dataclass
class Result:
    """What came of a run."""

    name: str
    subject: str
    mutant: Mutant
    events: int = 0
    kills: int = 0
    seconds: float = 0.0
    recovery_s: float = 0.0
    violations: list[Violation] = field(default_factory=list[Violation])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def broken(self) -> list[Invariant]:
        """The invariants that do not hold."""
        return sorted({violation.invariant for violation in self.violations})


class Arena:
    """Everything that a scenario acts on."""

    def __init__(
        self,
        ground: Ground,
        *,
        name: str,
        subject: str,
        seed: int,
        mutant: Mutant,
        folder: Path,
        report: Report,
        scale: int,
    ) -> None:
        self.ground = ground
        self.subject = subject
        self.mutant = mutant
        self.rng = random.Random(f"{seed}/{name}")  # noqa: S311  # a plan that a seed repeats, no secret
        self.scale = scale
        self.prefix = f"{name}.{mutant.value}."
        self.result = Result(name, subject, mutant)
        self.workers: list[Worker] = []
        self._folder = folder
        self._report = report
        self._ports = StoredPorts(ground.folder / "workers.json")
        self._supervision: asyncio.Task[None] | None = None
        self._database_url = ""
        self._databases: list[str] = []
        self._began = time.monotonic()

    # Life ---------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Prepare database, topics, ledger and the harness's own clients."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._database_url = await self._database()
        await self.ground.topics(self.prefix)
        self.ledger = ledger.Ledger(self._folder / "ledger.jsonl")
        self._sender = Sender(self.ground.bootstrap)
        self._eye = Eye(self.ground.bootstrap)
        self._supervision = asyncio.create_task(self._supervise())

    async def _database(self) -> str:
        url = await self.ground.database(self.subject)
        self._databases.append(url)
        return url

    async def close(self) -> None:
        """End every worker; nothing stays."""
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])
        for worker in self.workers:
            worker.wanted = False
        await asyncio.gather(*(worker.kill() for worker in self.workers))
        with contextlib.suppress(*TROUBLE):
            await asyncio.to_thread(self._eye.close)
            await self.ground.forget(self.prefix)
            if not self.result.violations:
                for url in self._databases:
                    await self.ground.drop(url)
        self.result.seconds = time.monotonic() - self._began

    def say(self, text: str) -> None:
        """Report progress."""
        self._report(f"{self.result.name}: {text}")

    # Workers ------------------------------------------------------------------------------------------

    async def worker(self, name: str, **options: Any) -> Worker:
        """Start a worker; it is started again whenever it ends."""
        url = cast("str", options.pop("database_url", self._database_url))
        worker = Worker(
            name=name,
            subject=self.subject,
            port=self._ports.pick(name),
            log=self._folder / f"{name}.log",
            environment=self.ground.environment(self.prefix, url),
            mutant=options.pop("mutant", self.mutant),
            **options,
        )
        self.workers.append(worker)
        await worker.start()
        return worker

    async def pair(self, **options: Any) -> tuple[Worker, Worker]:
        """Start two static members and wait for both."""
        first, second = await asyncio.gather(
            self.worker("w0", slot=0, **options), self.worker("w1", slot=1, **options)
        )
        await asyncio.gather(first.ready(), second.ready())
        return first, second

    async def kill(self, worker: Worker, *, again: bool = True) -> None:
        """SIGKILL a worker, which then comes back unless told otherwise."""
        worker.wanted = again
        if worker.running:
            self.result.kills += 1
            await worker.kill()

    async def _supervise(self) -> None:
        while True:
            for worker in list(self.workers):
                if worker.wanted and worker.child is not None and not worker.running:
                    await asyncio.sleep(RESTART_S)
                    if worker.wanted:
                        await worker.start()
            await asyncio.sleep(RESTART_S / 2)

    # Load ---------------------------------------------------------------------------------------------

    async def load(self, records: Sequence[Outgoing], rate: float) -> None:
        """Write records at `rate` a second, or as fast as the broker takes them; return when all are in the ledger."""
        began = time.monotonic()
        sent = 0
        while sent < len(records) or self._sender.unacknowledged:
            due = min(len(records), int((time.monotonic() - began) * rate) + 1)
            for record in records[sent:due]:
                self._send(record)
            sent = max(sent, due)
            self._sender.poll()
            self.ledger.sync()
            await asyncio.sleep(TICK_S)
        self.result.events += len(records)

    def _send(self, record: Outgoing) -> None:
        self._sender.send(record, lambda partition, offset: self.ledger.note(record, partition, offset))

    # Looking ------------------------------------------------------------------------------------------

    async def connect(self) -> Any:
        """Connect to the database under test."""
        return await state.connect(self._database_url)

    async def positions(self) -> dict[tuple[str, int], tuple[int, str | None]]:
        """Read the worker's positions."""
        connection = await self.connect()
        try:
            return await state.positions(connection)
        finally:
            await connection.close()

    async def until(self, what: str, condition: Callable[[], Any], seconds: float = 40) -> bool:
        """Wait for something that the scenario needs; if it does not come, the fault was not staged."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(*TROUBLE):
                answer = condition()
                if await answer if asyncio.iscoroutine(answer) else answer:
                    return True
            await asyncio.sleep(TICK_S * 2)
        self.require(f"{what} (waited {seconds:g} s)", holds=False)
        return False

    def require(self, what: str, *, holds: bool) -> None:
        """Note a run whose fault did not take place: it proves nothing and must not pass."""
        if not holds:
            self.result.violations.append(Violation(Invariant.STAGED, f"did not happen: {what}"))

    def violated(self, invariant: Invariant, what: str) -> None:
        """Note a broken invariant."""
        self.result.violations.append(Violation(invariant, what))

    async def settle(self, database_url: str | None = None, limit_s: float = RECOVERY_S) -> float:
        """Wait until all that was written is committed and announced; a lag after `limit_s` breaks R."""
        began = time.monotonic()
        behind: str | None = "never looked"
        while True:
            try:
                behind = await self._behind(database_url or self._database_url)
            except TROUBLE as error:
                behind = type(error).__name__
            took = time.monotonic() - began
            if behind is None:
                return took
            if took > limit_s:
                self.violated(Invariant.RECOVERED, f"{limit_s:g} s after healing: {behind}")
                return took
            await asyncio.sleep(0.1)

    async def _behind(self, database_url: str) -> str | None:
        connection = await state.connect(database_url)
        try:
            for topics in STEPS[self.subject]:
                ends = await asyncio.to_thread(self._eye.ends, self._places(topics))
                at = await state.positions(connection)
                lag = {place: end - at.get(place, (0, None))[0] for place, end in ends.items()}
                wrong = {place: n for place, n in lag.items() if n != 0}
                if wrong:
                    return f"lag {sum(wrong.values())} in {state.samples(wrong.items(), 8)}"
            waiting = await state.waiting(connection)
            return f"{waiting} outbox rows" if waiting else None
        finally:
            await connection.close()

    async def ends(self) -> dict[tuple[str, int], int]:
        """Look up where the logs of the inputs end."""
        return await asyncio.to_thread(self._eye.ends, self._places(INPUTS))

    def _places(self, topics: Sequence[str]) -> list[tuple[str, int]]:
        return [(self.prefix + topic, number) for topic in topics for number in range(PARTITIONS)]

    def read_log(self, *topics: str) -> list[LogRecord]:
        """Read topics whole. Blocking."""
        return self._eye.read([self.prefix + topic for topic in topics], PARTITIONS)

    # Reckoning ----------------------------------------------------------------------------------------

    async def come_to_rest(self) -> None:
        """Let everything settle, then stop the workers."""
        self.result.recovery_s = await self.settle()
        for worker in self.workers:
            worker.wanted = False
        await asyncio.gather(*(worker.stop() for worker in self.workers))
        self.ledger.close()
        self.result.notes["fenced"] = sum(worker.logged("fenced") for worker in self.workers)
        self.result.notes["starts"] = sum(worker.starts for worker in self.workers)
        self.say(f"caught up {self.result.recovery_s:.1f} s after the last fault; comparing")

    async def reckon(self) -> None:
        """Let everything settle, then compare with the oracle, and with a clean run over the same records."""
        await self.come_to_rest()
        log = await asyncio.to_thread(self.read_log, *INPUTS)
        scores = await asyncio.to_thread(self.read_log, SCORES.name)
        announced = await asyncio.to_thread(self.read_log, JOURNEYS.name)
        letters = await asyncio.to_thread(self.read_log, DEAD_LETTERS["scoring"].name)
        found = await state.read(self.subject, self._database_url)
        clean = await self._replay()
        noted = list(ledger.read(self.ledger.path))
        good = [record for record, poison in noted if not poison]
        bad_ids = {record.headers["ce_id"] for record, poison in noted if poison}
        poison = [record for record in log if record.headers.get("ce_id") in bad_ids]
        violations = self.result.violations
        violations += checks.acknowledged((record for record, _ in noted), log)
        violations += checks.parked(poison, found.dead, letters)
        if isinstance(found, state.ScoringState):
            violations += checks.scoring(good, found)
            violations += checks.published_scores(good, scores)
        else:
            counted = [record for record in log if record.headers.get("ce_id") not in bad_ids]
            violations += checks.tally(counted, found, {"published": scores, "relayed": announced})
        if clean is not None:
            violations += checks.equal(found, clean)
            self.result.notes["state"] = state.fingerprint(found)
        if poison:
            self.result.notes["parked"] = sum(found.dead.values())

    async def _replay(self) -> state.State | None:
        """Run one worker, as it should be and undisturbed, over the same topics into a database of its own."""
        url = await self._database()
        worker = await self.worker(
            "replay",
            group_suffix="-replay",
            mutant=Mutant.NONE,
            database_url=url,
            settings={"POISON_LIMIT": "10000", "BATCH_RECORDS": "2000"},
        )
        before = len(self.result.violations)
        await self.settle(url)
        await worker.stop()
        if len(self.result.violations) > before:
            return None
        return await state.read(self.subject, url)
