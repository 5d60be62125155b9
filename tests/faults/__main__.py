"""The fault runs: `python -m tests.faults`."""

import argparse
import asyncio
import contextlib
import json
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tests.faults.arena import Arena, Result
from tests.faults.ground import Ground, forget_environment
from tests.faults.mutants import Mutant
from tests.faults.scenarios import BY_NAME, SCENARIOS, Scenario

LONG = 10
LIMIT_S = 240.0
"""Longest that one scenario of the short form may take; beyond, it has hung."""
PROOFS: tuple[tuple[Mutant, Scenario], ...] = (
    # The tally misses a lost batch of duplicates too, which changes nothing in scoring.
    (Mutant.OFFSETS_FIRST, replace(BY_NAME["kill-before-commit"], subject="tally")),
    (Mutant.NO_FENCE, BY_NAME["zombie"]),
    (Mutant.NO_ACK, BY_NAME["broker-restart"]),
    (Mutant.EARLY_ANSWER, BY_NAME["intake-kills"]),
)
"""Each mutant with the fault that must expose it."""


class Show:
    """Progress on standard error, results on standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._err = Console(stderr=True, highlight=False)
        self._out = Console(highlight=False)
        self._began = time.monotonic()

    def line(self, text: str) -> None:
        """Show one line of progress."""
        self._err.print(f"[dim]{time.monotonic() - self._began:6.1f} s[/dim]  ", end="")
        self._err.print(text, markup=False, soft_wrap=True)

    def results(self, results: Sequence[Result], *, seed: int, title: str, verdict: str) -> None:
        """Show all results, and the last word."""
        if self._as_json:
            print(
                json.dumps(
                    {"seed": seed, "verdict": verdict, "runs": [_plain(result) for result in results]},
                    indent=2,
                )
            )
            return
        mutated = any(r.mutant is not Mutant.NONE for r in results)
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for column in ("fault", "subject", *(("mutant",) if mutated else ())):
            table.add_column(column, no_wrap=True)
        # Eighty columns hold either the mutant or the time of recovery.
        for column in ("events", "kills", *(() if mutated else ("caught up",)), "took", "broken"):
            table.add_column(column, justify="right", no_wrap=True)
        for r in results:
            recovery = () if mutated else (f"{r.recovery_s:.1f} s",)
            numbers = (f"{r.events:,}", str(r.kills), *recovery, f"{r.seconds:.0f} s")
            names = (r.name, r.subject, *((r.mutant.value,) if mutated else ()))
            table.add_row(*names, *numbers, " ".join(r.broken) or "-")
        self._out.print(table)
        for r in results:
            for violation in r.violations:
                self._out.print(f"{r.name} ({r.mutant}): {violation}", markup=False, soft_wrap=True)
        self._out.print(verdict, markup=False, soft_wrap=True)


def _plain(result: Result) -> dict[str, object]:
    return {
        **{name: value for name, value in vars(result).items() if name != "violations"},
        "violations": [
            {"invariant": v.invariant, "what": v.what, "count": v.count} for v in result.violations
        ],
    }


async def run_one(
    ground: Ground, scenario: Scenario, *, seed: int, mutant: Mutant, scale: int, show: Show
) -> Result:
    """Run a scenario; what goes wrong with the run itself counts as a violation too."""
    arena = Arena(
        ground,
        name=scenario.name,
        subject=scenario.subject,
        seed=seed,
        mutant=mutant,
        folder=ground.folder / "runs" / f"{scenario.name}-{mutant}",
        report=show.line,
        scale=scale,
    )
    show.line(
        f"{scenario.name}: {scenario.about}"
        + ("" if mutant is Mutant.NONE else f", with the mutant {mutant}")
    )
    try:
        async with asyncio.timeout(LIMIT_S * scale):
            await arena.open()
            await scenario.run(arena, scenario.events * scale)
            await scenario.reckon(arena)
    except TimeoutError as error:
        arena.require(f"an end of the run ({error or 'it hung'})", holds=False)
    except Exception as error:  # noqa: BLE001  # one run that breaks must not hide what the others find
        show.line("".join(traceback.format_exception(error)))
        arena.require(f"an end of the run ({type(error).__name__})", holds=False)
    finally:
        await arena.close()
    result = arena.result
    broken = f"violations of {', '.join(result.broken)}" if result.violations else "no violation"
    show.line(
        f"{scenario.name}: {broken} in {result.events:,} events, {result.seconds:.0f} s, {result.notes}"
    )
    return result


async def run_all(
    folder: Path, plan: Sequence[tuple[Scenario, Mutant]], *, seed: int, scale: int, show: Show
) -> list[Result]:
    """Run a plan on a ground of its own."""
    ground = Ground(folder)
    show.line("starting Kafka and PostgreSQL of our own")
    try:
        await ground.start()
        return [
            await run_one(ground, scenario, seed=seed, mutant=mutant, scale=scale, show=show)
            for scenario, mutant in plan
        ]
    finally:
        await ground.stop()


def verdict(results: Sequence[Result], seed: int) -> tuple[str, bool]:
    """Sum up a run of the product as it is."""
    found = sum(violation.count for result in results for violation in result.violations)
    text = (
        f"faults: {len(results)} scenarios, {sum(r.events for r in results)} events, "
        f"{sum(r.kills for r in results)} kills, {found} violations, seed {seed}"
    )
    return text, found == 0


def mutant_verdict(results: Sequence[Result], seed: int) -> tuple[str, bool]:
    """Sum up a run of mutants: each must be caught in the act, and the controls must be clean."""
    controls = [result for result in results if result.mutant is Mutant.NONE]
    mutated = [result for result in results if result.mutant is not Mutant.NONE]
    caught = [result for result in mutated if {"L", "D"} & set(result.broken)]
    green = [result for result in controls if not result.violations]
    text = f"mutants: {len(caught)} of {len(mutated)} caught, {len(green)} of {len(controls)} controls clean"
    return f"{text}, seed {seed}", len(caught) == len(mutated) and len(green) == len(controls)


def main() -> None:
    """Run what the command line asks for; exit 1 on any violation, with the seed that repeats it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--long", action="store_true", help="ten times the events and the kills")
    parser.add_argument(
        "--mutants", action="store_true", help="show that broken processors turn the runs red"
    )
    parser.add_argument("--seed", type=int, default=None, help="repeat the plan of an earlier run")
    parser.add_argument(
        "--only", action="append", choices=sorted(BY_NAME), help="run this scenario alone; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--keep", action="store_true", help="keep the folder with logs, ledgers and databases"
    )
    given = parser.parse_args()
    forget_environment()
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    show = Show(as_json=given.json)
    show.line(f"seed {seed}")
    if given.mutants:
        proofs = [proof for proof in PROOFS if given.only is None or proof[1].name in given.only]
        plan = [pair for mutant, scenario in proofs for pair in ((scenario, Mutant.NONE), (scenario, mutant))]
    else:
        plan = [(s, Mutant.NONE) for s in SCENARIOS if given.only is None or s.name in given.only]
    folder = Path(tempfile.mkdtemp(prefix="cxloop-faults-"))
    results: list[Result] = []
    passed = False
    try:
        results = asyncio.run(run_all(folder, plan, seed=seed, scale=LONG if given.long else 1, show=show))
        text, passed = (mutant_verdict if given.mutants else verdict)(results, seed)
        show.results(results, seed=seed, title="Mutants" if given.mutants else "Faults", verdict=text)
    except KeyboardInterrupt:
        show.line(f"interrupted, seed {seed}")
    finally:
        if given.keep or not passed:
            show.line(f"logs, ledgers and databases are in {folder}")
        else:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
