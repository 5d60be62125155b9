"""The faults, each with the load it comes in and what must have happened for the run to count."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psutil

from tests.faults.arena import Arena
from tests.faults.checks import Invariant
from tests.faults.intake import intake_kills
from tests.faults.intake import reckon as reckon_intake
from tests.faults.load import TICKETS, only_poison, traffic
from tests.faults.workers import Worker

Run = Callable[[Arena, int], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """One fault under load."""

    name: str
    about: str
    subject: str
    events: int
    """In the short form; the long one has ten times as many, and as many times the faults."""
    run: Run
    reckon: Callable[[Arena], Awaitable[None]] = Arena.reckon
    """The comparison at the end."""


async def random_kills(arena: Arena, events: int) -> None:
    """Kill either of two static members at random times."""
    workers = await arena.pair()
    kills, rate = 4 * arena.scale, 400
    gap = events / rate / (kills + 0.5)
    load = asyncio.create_task(arena.load(traffic(arena.rng, arena.prefix, events), rate))
    for _ in range(kills):
        await asyncio.sleep(gap * arena.rng.uniform(0.7, 1.3))
        victim = arena.rng.choice(workers)
        await arena.until("the next victim runs", lambda victim=victim: victim.running)
        await arena.kill(victim)
        arena.say(f"killed {victim.name}")
    await load


def killed_at(point: str) -> Run:
    """Make a scenario that kills a member at a point of its batches."""

    async def run(arena: Arena, events: int) -> None:
        kills = 2 * arena.scale
        victim = await arena.worker("w0", slot=0, failpoint=_failpoint(arena, point))
        other = await arena.worker("w1", slot=1)
        await asyncio.gather(other.ready(), _ready_once(victim))
        load = asyncio.create_task(arena.load(traffic(arena.rng, arena.prefix, events), 280))
        for left in reversed(range(kills)):
            # What it is told now counts from its next start on.
            victim.failpoint = _failpoint(arena, point) if left else None
            starts = victim.starts
            if not await arena.until(f"w0 dies at {point}", lambda starts=starts: victim.starts > starts, 60):
                break
            arena.result.kills += 1
            arena.say(f"w0 died at {point}")
        await load

    return run


def _failpoint(arena: Arena, point: str) -> str:
    return f"{point}:{arena.rng.randint(4, 25)}:kill"


async def _ready_once(worker: Worker) -> None:
    """Wait for a worker that may die of its failpoint before it could say that it is ready."""
    try:
        await worker.ready()
    except TimeoutError:
        if worker.starts < 2:  # it never got there at all
            raise


async def rebalance_storm(arena: Arena, events: int) -> None:
    """Let members join and leave every second or three."""
    steady = await arena.worker("w0")
    await steady.ready()
    load = asyncio.create_task(arena.load(traffic(arena.rng, arena.prefix, events), 260))
    guests: list[Worker] = []
    moves = 0
    while not load.done():
        leaving = (
            arena.rng.choice(guests) if len(guests) > 2 or (guests and arena.rng.random() < 0.4) else None
        )  # members the machine can carry
        if leaving is None:
            guests.append(await arena.worker(f"w{1 + moves % 40}"))
            arena.say(f"{guests[-1].name} joins")
        else:
            guests.remove(leaving)
            arena.say(f"{leaving.name} leaves")
            await leaving.stop()
        moves += 1
        await asyncio.wait([load], timeout=arena.rng.uniform(1, 3))
    await load
    rebalances = steady.logged("partitions_assigned")
    arena.result.notes["rebalances"] = rebalances
    arena.require(
        f"w0 saw 3 rebalances or more (it saw {rebalances})", holds=rebalances >= 3
    )  # fewer are no storm


async def zombie(arena: Arena, events: int) -> None:
    """Stop a member beyond its session, let another take over, and let it go on."""
    rounds = 2 * arena.scale
    share = events // rounds
    records = traffic(arena.rng, arena.prefix, events)
    fenced = 0
    for number in range(rounds):
        part = records[number * share : (number + 1) * share]
        point = "after_commit" if number % 2 == 0 else "before_commit"
        # A backlog first: what it has fetched and not worked off is what it will come back with.
        await arena.load(part[: share // 2], 4000)
        small = {"BATCH_RECORDS": "40"}
        dead = await arena.worker(
            f"z{number}", failpoint=f"{point}:{arena.rng.randint(3, 6)}:stop", settings=small
        )
        await arena.until(f"{dead.name} stands still", lambda dead=dead: _stopped(dead))
        held = {place: at for place, (at, _) in (await arena.positions()).items()}
        arena.say(f"{dead.name} stands still {point.replace('_', ' ')}")
        heir = await arena.worker(f"h{number}", settings=small)
        load = asyncio.create_task(arena.load(part[share // 2 :], 400))
        await heir.ready()

        async def taken_over(held: dict[tuple[str, int], int] = held) -> bool:
            now = await arena.positions()
            return all(now[place][0] > at for place, at in held.items() if place in now)

        await arena.until("another worker takes over", taken_over)
        await dead.resume()
        arena.say(f"{dead.name} is back")
        await load
        await arena.settle()
        await arena.until(f"{dead.name} notices", lambda dead=dead: _noticed(dead))
        fenced += dead.logged("fenced")
        dead.wanted = heir.wanted = False
        await asyncio.gather(dead.stop(), heir.stop())
    if arena.mutant != "no-fence":
        arena.require("the fence rejected a batch", holds=fenced > 0)


def _stopped(worker: Worker) -> bool:
    return worker.child is not None and psutil.Process(worker.child.pid).status() == psutil.STATUS_STOPPED


def _noticed(worker: Worker) -> bool:
    """Tell whether a zombie has learnt that it is one: by the fence, by a lost connection or by a new assignment."""
    told = ("fenced", "batch_retried", "partitions_assigned", "processor_waits")
    return sum(worker.logged(event) for event in told) > 1


async def broker_restart(arena: Arena, events: int) -> None:
    """Kill the broker under load, kill a worker that waits for it, and start it again on the same port."""
    first, second = await arena.pair()
    burst = 400
    records = traffic(arena.rng, arena.prefix, events)
    load = asyncio.create_task(arena.load(records[burst * arena.scale :], 300))
    bursts: list[asyncio.Task[None]] = []
    for number in range(arena.scale):
        await asyncio.sleep(arena.rng.uniform(2, 3.5))
        # Both workers shall have something in hand when the broker goes.
        part = records[number * burst : (number + 1) * burst]
        bursts.append(asyncio.create_task(arena.load(part, 5000)))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(arena.ground.kafka.kill)
        arena.result.kills += 1
        arena.say("killed the broker")
        await asyncio.sleep(arena.rng.uniform(0.5, 1.5))
        await arena.kill((first, second)[number % 2])
        await asyncio.to_thread(arena.ground.kafka.restart)
        arena.say("the broker is back")
    await asyncio.gather(load, *bursts)


async def postgres_restart(arena: Arena, events: int) -> None:
    """Kill the postmaster and start it again at once; then kill the backend of a worker's transaction."""
    await arena.pair()
    load = asyncio.create_task(arena.load(traffic(arena.rng, arena.prefix, events), 280))
    for _ in range(arena.scale):
        await asyncio.sleep(arena.rng.uniform(1.5, 3))
        await asyncio.to_thread(arena.ground.postgres.kill)
        arena.result.kills += 1
        arena.say("killed the postmaster")
        await asyncio.to_thread(arena.ground.postgres.restart)
        await asyncio.sleep(arena.rng.uniform(2, 3))
        await arena.until("a backend is killed", lambda: _kill_backend(arena))
        arena.result.kills += 1
        arena.say("killed a backend")
    await load


async def _kill_backend(arena: Arena) -> bool:
    connection = await arena.connect()
    try:
        pid = await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'cxloop-scoring' "
            "AND datname = current_database() ORDER BY state_change DESC LIMIT 1"
        )
    finally:
        await connection.close()
    if pid is None:
        return False
    os.kill(pid, signal.SIGKILL)
    return True


async def poison(arena: Arena, events: int) -> None:
    """Mix records into the stream that are no events, and kill a worker among them."""
    first, _ = await arena.pair()
    load = asyncio.create_task(arena.load(traffic(arena.rng, arena.prefix, events, poison=0.05), 450))
    await asyncio.sleep(arena.rng.uniform(2, 4))
    await arena.kill(first)
    arena.say("killed w0")
    await load


async def all_poison(arena: Arena, events: int) -> None:
    """Fill a topic with nothing but poison: it stops at the limit, across a kill, and goes on when released."""
    limit = 10
    flood = 120
    worker = await arena.worker("w0", slot=0, role="all", settings={"POISON_LIMIT": str(limit)})
    await worker.ready()
    good = [r for r in traffic(arena.rng, arena.prefix, 3 * events) if not r.topic.endswith(TICKETS)]
    await asyncio.gather(
        arena.load(only_poison(arena.rng, arena.prefix, flood), 2000),
        arena.load(good[: events - flood], 2000),
    )
    topic = arena.prefix + TICKETS

    async def paused() -> dict[int, int]:
        return {n: at for (name, n), (at, why) in (await arena.positions()).items() if name == topic and why}

    async def all_paused() -> bool:
        return len(await paused()) == 4  # partitions

    await arena.until("every partition of the topic pauses", all_paused)
    stops = await paused()
    if any(at != limit for at in stops.values()):
        arena.violated(Invariant.LOST, f"paused at {stops}, not after {limit} records each")
    ready = await worker.get("/readyz")
    if ready.status_code != 503 or topic not in ready.text:  # HTTP's own number
        arena.violated(
            Invariant.RECOVERED, f"/readyz answers {ready.status_code} and names no paused partition"
        )
    await arena.kill(worker)
    starts, assigned = worker.starts, worker.logged("partitions_assigned")
    arena.say(f"paused after {limit} records each; killed the worker")
    await arena.until(
        "it is back", lambda: worker.starts > starts and worker.logged("partitions_assigned") > assigned
    )
    if await paused() != stops:
        arena.violated(Invariant.LOST, "a restart released what was paused")
    for _ in range(flood // limit):
        if await _release(arena, worker):
            break
    arena.say("released until all was read")


async def _release(arena: Arena, worker: Worker) -> bool:
    """Release what is paused, and wait until it stops again or is through; tell whether nothing is left."""
    before = await arena.positions()
    stuck = {place for place, (_, why) in before.items() if why}
    answer = await worker.post("/v1/partitions/release")
    if not answer.is_success:
        arena.violated(Invariant.RECOVERED, f"the release answers {answer.status_code}: {answer.text[:200]}")
        return True
    ends = await arena.ends()

    async def went_on() -> bool:
        now = await arena.positions()
        # A partition that was paused at its very end is released where it stands.
        return all(
            at == ends[place] if why is None else at > before[place][0]
            for place, (at, why) in now.items()
            if place in stuck
        )

    await arena.until("released partitions go on", went_on, 15)
    now = await arena.positions()
    return not any(why for _, why in now.values())


async def assignment_without_postgres(arena: Arena, events: int) -> None:
    """Move partitions while the database is away: no position may be guessed."""
    stays = await arena.worker("w0")
    leaves = await arena.worker("w1")
    await asyncio.gather(stays.ready(), leaves.ready())
    load = asyncio.create_task(arena.load(traffic(arena.rng, arena.prefix, events), 220))
    for number in range(arena.scale):
        await asyncio.sleep(arena.rng.uniform(1.5, 2.5))
        waits = stays.logged("processor_waits")
        await asyncio.to_thread(arena.ground.postgres.kill)
        arena.result.kills += 1
        arena.say("killed the postmaster; w0 inherits without it")
        await leaves.stop()
        await arena.until(
            "w0 is given partitions without a database",
            lambda waits=waits: stays.logged("processor_waits") > waits,
        )
        leaves = await arena.worker(f"w{2 + number}")
        await asyncio.sleep(arena.rng.uniform(0.5, 2))
        await asyncio.to_thread(arena.ground.postgres.restart)
        arena.say("PostgreSQL is back")
    await load


SCENARIOS = (
    Scenario("random-kills", "kill -9 of either worker at random", "scoring", 4000, random_kills),
    Scenario("kill-before-commit", "kill -9 just before COMMIT", "scoring", 3000, killed_at("before_commit")),
    Scenario("kill-after-commit", "kill -9 just after COMMIT", "scoring", 3000, killed_at("after_commit")),
    Scenario("rebalance-storm", "members join and leave every 1-3 s", "tally", 3500, rebalance_storm),
    Scenario("zombie", "SIGSTOP beyond the session, takeover, SIGCONT", "tally", 2500, zombie),
    Scenario(
        "broker-restart", "kill -9 of the broker and of a waiting worker", "scoring", 3000, broker_restart
    ),
    Scenario(
        "postgres-restart", "kill -9 of the postmaster, then of a backend", "scoring", 3000, postgres_restart
    ),
    Scenario("poison", "records that are no events among good ones", "scoring", 3000, poison),
    Scenario("all-poison", "a topic of nothing but poison", "scoring", 1000, all_poison),
    Scenario(
        "no-postgres", "partitions move while PostgreSQL is away", "tally", 2000, assignment_without_postgres
    ),
    Scenario(
        "intake-kills", "kill -9 of ingest under HTTP load", "ingest", 2000, intake_kills, reckon_intake
    ),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
