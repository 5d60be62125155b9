"""Memory of each process and of the broker: after the start, and after a while of steady load.

Pages that processes share are counted once (PSS) where the system tells; PostgreSQL is all its processes.
"""

import time
from dataclasses import dataclass

from bench import load
from bench.processes import BenchError, memory_mib, tree
from bench.report import Figure, Result
from bench.whole import Whole, whole

CONNECTIONS = 16
SETTLE_S = 5.0


@dataclass(frozen=True)
class Plan:
    """How much load to give."""

    seconds: float = 60.0
    per_second: float = 200.0


QUICK = Plan(seconds=2.0)


def measure(plan: Plan | None = None) -> Result:
    """Run the benchmark. Raises BenchError."""
    plan = plan or Plan()
    with whole() as here:
        time.sleep(SETTLE_S)
        idle = _memory(here)
        messages = here.messages(0, int(plan.per_second * plan.seconds))
        done = load.run_loop(
            load.pace(
                here.stack.ports["ingest"],
                messages,
                per_second=plan.per_second,
                connections=CONNECTIONS,
                on_answered=lambda _index, _at: None,
            )
        )
        if done.refused:
            raise BenchError(f"not every webhook was accepted: {done.refused}")
        loaded = _memory(here)
    figures: list[Figure] = []
    for moment, found in (("at rest", idle), ("after load", loaded)):
        figures += [Figure(f"{name}, {moment}", "MiB", [mib]) for name, mib in found.items()]
        figures.append(Figure(f"all together, {moment}", "MiB", [sum(found.values())]))
    return Result(
        "memory",
        f"the whole product; load is {plan.per_second:g} survey webhooks/s for {plan.seconds:g} s",
        figures,
        notes=["The broker's heap is bounded at 384 MiB; the rest of it is the Java machine itself."],
    )


def _memory(here: Whole) -> dict[str, float]:
    services = {name: memory_mib(tree(here.stack.pid(name))) for name in here.stack.services}
    return {
        **services,
        "Kafka": memory_mib(tree(here.kafka.pid)),
        "PostgreSQL": memory_mib(tree(here.postgres.pid)),
    }
