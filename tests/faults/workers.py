"""Worker processes: started as a supervisor would, started again when they end, and ended by pid."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx

from cxloop_embedded import LOOPBACK, last_lines
from cxloop_embedded.child import Child, Program, owner_of
from tests.faults.mutants import Mutant

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60.0
TOKEN = f"cxl_{secrets.token_hex(16)}"
TIMING = {
    "SESSION_TIMEOUT_S": "6",
    "REBALANCE_TIMEOUT_S": "15",
    "HEARTBEAT_INTERVAL_S": "1",
    "TRANSACTION_TIMEOUT_S": "10",
    "WATCHDOG_S": "20",
    "SHUTDOWN_S": "2",
    "BATCH_RECORDS": "100",
}
"""Short enough that a run sees sessions expire; the session is the shortest that Kafka allows."""


@dataclass
class Worker:
    """One worker process and what it is told."""

    name: str
    subject: str
    port: int
    log: Path
    environment: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings of its service that differ from the usual, without the service's prefix."""
    slot: int | None = None
    mutant: Mutant = Mutant.NONE
    role: str = "worker"
    group_suffix: str = ""
    failpoint: str | None = None
    """Used for the next start only: a worker that died of it comes back without."""
    starts: int = 0
    wanted: bool = True
    """Whether it is started again when it ends."""
    child: Child | None = field(default=None, repr=False)

    @property
    def prefix(self) -> str:
        """How its settings begin: the tally goes by the name of scoring."""
        return "CXLOOP_INGEST_" if self.subject == "ingest" else "CXLOOP_SCORING_"

    @property
    def url(self) -> str:
        """Address of its API."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process is there, suspended or not."""
        return self.child is not None and self.child.running

    async def start(self) -> None:
        """Start the process; it needs some seconds to be ready."""
        arguments = ["--subject", self.subject, "--role", self.role, "--mutant", self.mutant]
        if self.slot is not None:
            arguments += ["--slot", str(self.slot)]
        if self.group_suffix:
            arguments.append(f"--group-suffix={self.group_suffix}")
        if self.failpoint is not None:
            arguments += ["--failpoint", self.failpoint]
        self.failpoint = None
        self.starts += 1
        tokens = [{"name": "faults", "token": TOKEN, "scopes": ["admin"], "sources": ["*"]}]
        settings = {**TIMING, **self.settings, "PORT": str(self.port)}
        program = Program(
            name=self.name,
            argv=[sys.executable, "-m", "tests.faults.worker", *arguments],
            cwd=ROOT,
            log=self.log,
            owner=owner_of(self.name, self.log.parent),
            env={
                **self.environment,
                **{f"{self.prefix}{name}": value for name, value in settings.items()},
                "CXLOOP_API_TOKENS": json.dumps(tokens),
            },
        )
        self.child = await asyncio.to_thread(Child, program)

    async def ready(self) -> None:
        """Wait until it says that it is ready. Raises TimeoutError with the end of its log."""
        deadline = time.monotonic() + READY_S
        said = "nothing"
        while True:
            try:
                answer = await self.get("/readyz")
                said = answer.text
                if answer.is_success:
                    return
            except httpx.HTTPError:
                pass
            if time.monotonic() > deadline:
                end = "\n".join(last_lines(self.log, 8))
                raise TimeoutError(f"{self.name} is not ready: {said[:300]}\n{end}")
            await asyncio.sleep(0.1)

    async def get(self, path: str) -> httpx.Response:
        """Ask its API."""
        async with self.client() as client:
            return await client.get(path)

    async def post(self, path: str) -> httpx.Response:
        """Tell its API."""
        async with self.client() as client:
            return await client.post(path)

    def client(self) -> httpx.AsyncClient:
        """Make a client of its API."""
        return httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5, trust_env=False
        )

    async def kill(self) -> None:
        """SIGKILL."""
        if self.child is not None:
            await asyncio.to_thread(self.child.kill)

    async def stop(self) -> None:
        """SIGTERM, and not started again."""
        self.wanted = False
        if self.child is not None:
            await asyncio.to_thread(self.child.stop)

    async def resume(self) -> None:
        """SIGCONT."""
        if self.child is not None:
            await asyncio.to_thread(self.child.resume)

    def logged(self, event: str) -> int:
        """Count lines of its log that tell of an event."""
        if not self.log.exists():
            return 0
        found = 0
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if f'"{event}"' in line:
                entry = cast("dict[str, Any]", json.loads(line)) if line.startswith("{") else {}
                found += entry.get("event") == event
        return found
