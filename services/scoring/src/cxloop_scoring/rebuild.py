"""Rebuild: bring ledger, buckets, links of cases and scales to what documents say, while the workers go on.

`python -m cxloop_scoring.rebuild`, or `cxloop rebuild scoring` where the command line is installed. It may be
stopped at any time and started again: what it has committed is right, and it begins by looking.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import asyncpg

from cxloop_common.database import Database, is_transient
from cxloop_common.settings import SettingsError, load_settings
from cxloop_common.topics import TopicNames
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.generations import SupersededError, rules_in_force
from cxloop_scoring.settings import ScoringSettings
from cxloop_scoring.store.months import ledger_from
from cxloop_scoring.store.rebooking import Rebooked, Rebooking
from cxloop_scoring.store.rebuilding import BusyError, Corrected, Slice, correct, rebuild_lock, slices
from cxloop_scoring.store.scales import SurveyScale, restore_scales

EXAMPLE: Final = "python -m cxloop_scoring.rebuild --check --json"
RIGHT, WRONG, BAD_USAGE, NO_ANSWER, BUSY, SUPERSEDED = range(6)
EXIT_CODES: Final = (
    "Exits 0 when everything was as the documents say, 1 when something was wrong (and, but for --check, has been "
    "put right), 2 when a setting is wrong, 3 when PostgreSQL does not answer, 4 when another rebuild is running, "
    "and 5 when the configuration in force was registered by newer software, or by software that books by it "
    "otherwise: nothing is changed then. Documents of an older configuration are booked anew and are no fault."
)
_TRANSACTION_S: Final = 6 * 3600.0
"""A rebuild's transactions hold up nobody, and the one that brings the ledger together may take its time."""
_SAY_EVERY_S: Final = 5.0


class Progress(Protocol):
    """Is told how far a phase has come."""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Take note; `total` is never below `done`."""
        ...


def _unheard(phase: str, done: int, total: int) -> None:
    del phase, done, total


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rebuild found, and put right unless it was only to look."""

    documents: int
    """Documents compared with the ledger."""
    outdated: int
    """Documents booked by an older generation of formulas or configuration."""
    mended: int
    """Documents of this generation of which the ledger said something else."""
    ledger_rows: int
    """Signed rows that the ledger lacked."""
    links: int
    """Scores and superseded cases whose link to a case was lacking, or was named by no record of it."""
    scales: int
    """Scales that surveys were answered by, and that were lacking."""
    orphans: int
    """Documents that only the ledger knows; they are left as they are."""
    slices: int
    """Metrics and days whose buckets were added up."""
    buckets: int
    """Buckets by hour or day that were wrong."""
    unreadable: int
    """Bucket rows whose histogram could not be read."""
    seconds: float

    @property
    def was_right(self) -> bool:
        """Tell whether nothing was wrong; what an older configuration booked is not."""
        return not (
            self.mended or self.links or self.scales or self.orphans or self.buckets or self.unreadable
        )


async def rebuild(
    database: Database,
    names: TopicNames,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    write: bool = True,
    progress: Progress = _unheard,
) -> Outcome:
    """Rebook documents, then correct buckets. Raises BusyError where another rebuild is at work.

    The rules are those in force: the newest that a worker was started with, so no file is needed here. With
    `write=False` nothing is changed. Documents go first: what they append goes to the buckets at once,
    and whatever was wrong there before shows when the buckets are added up.
    """
    began = time.monotonic()
    connection = await database.connect()
    try:
        async with rebuild_lock(connection):
            horizon = await ledger_from(connection)
            rules = await rules_in_force(connection)
            rebooking = Rebooking(database, connection, names, now, rules=rules, ledger_from=horizon)
            checked, booked, scales, orphans = await _documents(
                connection, rebooking, write=write, progress=progress
            )
            parts = [part for number in MetricNumber for part in await slices(connection, number, horizon)]
            corrected = await _buckets(connection, parts, write=write, progress=progress)
    finally:
        await connection.close()
    return Outcome(
        checked,
        *booked,
        scales,
        orphans,
        len(parts),
        *corrected,
        round(time.monotonic() - began, 3),
    )


async def _documents(
    connection: asyncpg.Connection, rebooking: Rebooking, *, write: bool, progress: Progress
) -> tuple[int, Rebooked, int, int]:
    """Give how many were compared, what became of them, how many scales were lacking, and orphans."""
    total: int = await connection.fetchval("SELECT count(*) FROM documents")
    progress("documents", 0, total)
    await rebooking.take_stock()
    checked, booked, after = 0, Rebooked(), ""
    scales: set[SurveyScale] = set()
    while (page := await rebooking.compare(after)) is not None:
        booked += await rebooking.book(page.differing, write=write)
        after = page.last
        checked += page.checked
        scales |= page.scales
        progress("documents", checked, max(checked, total))
    lacking = await restore_scales(connection, scales, write=write)
    return checked, booked, lacking, await rebooking.orphans()


async def _buckets(
    connection: asyncpg.Connection, parts: Sequence[Slice], *, write: bool, progress: Progress
) -> Corrected:
    corrected = Corrected(0, 0)
    progress("buckets", 0, len(parts))
    for done, part in enumerate(parts, start=1):
        corrected += await correct(connection, part, write=write)
        progress("buckets", done, len(parts))
    return corrected


class _Lines:
    """Progress as lines on standard error, one every few seconds at most."""

    def __init__(self) -> None:
        self._said = 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._said < _SAY_EVERY_S:
            return
        self._said = now
        print(f"{phase}: {done} of {total}", file=sys.stderr)  # noqa: T201  # a command writes to its terminal


def run(database_url: str, topic_prefix: str, *, write: bool, progress: Progress) -> Outcome:
    """Rebuild a database; scores are announced under the prefix. Raises BusyError, and what asyncpg raises."""

    async def in_database() -> Outcome:
        async with Database(database_url, schema="scoring", transaction_timeout_s=_TRANSACTION_S) as database:
            return await rebuild(database, TopicNames(topic_prefix), write=write, progress=progress)

    return asyncio.run(in_database())


def told(outcome: Outcome, *, write: bool) -> str:
    """Say in a line what a rebuild found."""
    found = (
        f"{outcome.documents} documents and {outcome.slices} days of metrics in {outcome.seconds:.1f} s: "
        f"{outcome.outdated} of an older configuration, {outcome.mended} of which the ledger said something else "
        f"({outcome.ledger_rows} rows), {outcome.links} links of cases and {outcome.scales} scales that were not as "
        f"they say, {outcome.buckets} wrong buckets, {outcome.unreadable} unreadable rows"
    )
    if outcome.orphans:
        found += f"; {outcome.orphans} documents that only the ledger knows are left as they are"
    return found if write else f"{found}; nothing was changed"


def exit_code(error: Exception) -> tuple[int, str] | None:
    """Give the exit code and a readable line for what can go wrong; None for a fault of ours."""
    if isinstance(error, SettingsError):
        return BAD_USAGE, str(error)
    if isinstance(error, SupersededError):
        return SUPERSEDED, f"{error}; nothing was changed"
    if isinstance(error, BusyError):
        return BUSY, f"{error}; try again when it has ended"
    if isinstance(error, asyncpg.UndefinedTableError):
        return NO_ANSWER, "the schema is not there yet, or an older one; run --role migrate first"
    if is_transient(error):
        return NO_ANSWER, f"PostgreSQL does not answer ({type(error).__name__})"
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m cxloop_scoring.rebuild",
        description="Bring ledger and buckets to what documents say, while the workers go on. "
        "Settings are those of the service.",
        epilog=f"{EXIT_CODES} Example: {EXAMPLE}",
    )
    parser.add_argument("--check", action="store_true", help="only look; change nothing")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings(ScoringSettings)
        outcome = run(settings.database_url, settings.topic_prefix, write=not given.check, progress=_Lines())
    except Exception as error:
        known = exit_code(error)
        if known is None:
            raise
        print(f"rebuild: {known[1]}", file=sys.stderr)  # noqa: T201  # a command writes to its terminal
        raise SystemExit(known[0]) from None
    line = json.dumps(asdict(outcome)) if given.as_json else told(outcome, write=not given.check)
    print(line)  # noqa: T201  # as above
    raise SystemExit(RIGHT if outcome.was_right else WRONG)


if __name__ == "__main__":
    main()
