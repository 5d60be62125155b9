"""`python -m bench [intake|scoring|...] [--quick] [--json]`: measure what the README claims."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from bench import intake, latency, memory, questions, scale, scoring
from bench.processes import BenchError
from bench.report import Result, machine
from cxloop_embedded import EmbeddedError

BENCHES: dict[str, Callable[[bool, bool], Result]] = {
    "intake": lambda quick, _: intake.measure(intake.QUICK if quick else None),
    "scoring": lambda quick, alone: scoring.measure(
        replace(scoring.QUICK if quick else scoring.Plan(), peer=not alone)
    ),
    "scale": lambda quick, _: scale.measure(scale.QUICK if quick else None),
    "questions": lambda quick, _: questions.measure(questions.QUICK if quick else None),
    "latency": lambda quick, _: latency.measure(latency.QUICK if quick else None),
    "memory": lambda quick, _: memory.measure(memory.QUICK if quick else None),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 when it could be measured, whether or not a target is met."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure intake, scoring, questions, latency and memory on this machine. Each starts a Kafka and a "
        "PostgreSQL of its own in a temporary folder and ends them again.",
    )
    parser.add_argument(
        "benches", nargs="*", metavar="bench", help=f"any of: {', '.join(BENCHES)}; default all"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round: shows that it runs, proves nothing"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--without-peers", action="store_true", help="leave Quix Streams out of scoring")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.benches if name not in BENCHES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(BENCHES)}")
    described = machine()
    if not given.json:
        print("  ".join(f"{name} {value}" for name, value in described.items()), flush=True)
    results: list[Result] = []
    for name in given.benches or BENCHES:
        try:
            result = BENCHES[name](given.quick, given.without_peers)
        except (BenchError, EmbeddedError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        results.append(result)
        if not given.json:
            print(f"\n{result.table()}", flush=True)
    if given.json:
        print(
            json.dumps({"machine": described, "results": [result.as_json() for result in results]}, indent=2)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
