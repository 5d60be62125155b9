"""What a run left behind in PostgreSQL, as plain values that do not depend on how it came about.

Numbers that carry no meaning (shards, ids of dimension values, when something was booked) are left out or put
into words, so that the states of two runs over the same records can be compared.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple, cast

import asyncpg
import msgspec

from cxloop_scoring.domain.histogram import (
    decode_histogram,
)  # how bytes are laid out is the service's own affair

DIMENSIONS = (
    *("source", "channel", "contact_type", "team", "agent", "touchpoint"),
    *("stage", "segment", "product", "location", "survey"),
)
NUMBERS = dict(enumerate((*DIMENSIONS, "tag"), start=1))
HOUR_US = 3_600_000_000
Section = Counter[Hashable]
"""Rows as values, with how often each is there."""


class Booked(NamedTuple):
    """An observation in force: what the ledger says after all withdrawals."""

    document: str
    metric: int
    value: int
    band: int | None
    at: int
    customer: int | None
    words: tuple[tuple[str, str], ...]

    @property
    def team(self) -> str | None:
        """The team it is filed under."""
        return dict(self.words).get("team")


Cell = tuple[int, str, str, int]
"""Metric, dimension, value and number of the hour or day; the total has no dimension."""
Numbers = tuple[int, int, int, int, int, int]
"""n, sum, low, middle, high, and how many values the histogram holds."""


@dataclass(frozen=True)
class ScoringState:
    """What scoring keeps."""

    facts: dict[str, frozenset[str]]
    contents: Section
    """Document, key of a fact, its bytes."""
    ledger: Counter[Booked]
    hours: dict[Cell, Numbers]
    days: dict[Cell, Numbers]
    dead: Section

    def sections(self) -> dict[str, Section]:
        """Give all that must be equal between two runs over the same records."""
        return {
            "facts": self.contents,
            "ledger": Counter[Hashable](self.ledger),
            "hours": Counter[Hashable](self.hours.items()),
            "days": Counter[Hashable](self.days.items()),
            "dead letters": self.dead,
        }


@dataclass(frozen=True)
class TallyState:
    """What the tally keeps."""

    applied: Section
    """Topic, partition and offset of every record it counted."""
    sums: dict[str, tuple[int, int]]
    dead: Section

    def sections(self) -> dict[str, Section]:
        """Give all that must be equal between two runs over the same records."""
        sums = Counter[Hashable](self.sums.items())
        return {"applied": self.applied, "sums": sums, "dead letters": self.dead}


State = ScoringState | TallyState


def fingerprint(state: State) -> str:
    """Hash a state; equal states have equal hashes."""
    text = json.dumps(
        {name: sorted(map(repr, section.items())) for name, section in state.sections().items()}
    )
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


async def connect(url: str) -> Any:
    """Connect to the schema under test; a database holds one."""
    session = {"search_path": "scoring, ingest", "timezone": "UTC"}
    return await asyncpg.connect(url, timeout=5, server_settings=session)


async def read(subject: str, url: str) -> State:
    """Read the state of a subject."""
    connection = await connect(url)
    try:
        return await (_scoring(connection) if subject == "scoring" else _tally(connection))
    finally:
        await connection.close()


async def _dead(connection: Any) -> Section:
    rows = await connection.fetch("SELECT topic, partition, record_offset, reason FROM dead_letters")
    return Counter(tuple(row) for row in rows)


async def _tally(connection: Any) -> TallyState:
    applied = await connection.fetch("SELECT topic, partition, record_offset FROM applied")
    sums = await connection.fetch("SELECT key, sum(n)::int8, sum(sum)::int8 FROM sums GROUP BY key")
    return TallyState(
        Counter(tuple(row) for row in applied),
        {row[0]: (row[1], row[2]) for row in sums},
        await _dead(connection),
    )


async def _scoring(connection: Any) -> ScoringState:
    facts: dict[str, frozenset[str]] = {}
    contents: Section = Counter()
    for row in await connection.fetch("SELECT id, facts FROM documents"):
        document = cast("dict[str, Any]", msgspec.msgpack.decode(row["facts"]))
        facts[row["id"]] = frozenset(document)
        contents.update((row["id"], key, repr(_plain(fact))) for key, fact in document.items())
    words = await _words(connection)
    return ScoringState(
        facts,
        contents,
        await _ledger(connection, words),
        await _buckets(connection, "bucket_hour", words),
        await _buckets(connection, "bucket_day", words),
        await _dead(connection),
    )


def _plain(value: Any) -> Any:
    """Put mappings into one order: that of a dict is chance."""
    if isinstance(value, dict):
        return sorted((str(name), _plain(inner)) for name, inner in cast("dict[Any, Any]", value).items())
    if isinstance(value, list):
        return [_plain(inner) for inner in cast("list[Any]", value)]
    return value


async def _words(connection: Any) -> dict[int, tuple[str, str]]:
    declared = {row[0]: row[1] for row in await connection.fetch("SELECT id, name FROM dimensions")}
    names = {**declared, **NUMBERS}
    rows = await connection.fetch("SELECT id, dimension, value FROM dimension_values")
    return {row["id"]: (names[row["dimension"]], row["value"]) for row in rows}


async def _ledger(connection: Any, words: dict[int, tuple[str, str]]) -> Counter[Booked]:
    columns = f"document, metric, value, band, at, customer, {', '.join(DIMENSIONS)}, more"
    rows = await connection.fetch(
        f"SELECT {columns.replace(' at,', ' (extract(epoch FROM at) * 1000000)::int8 AS at,')}, "
        f"sum(sign)::int4 AS times FROM ledger GROUP BY {columns} HAVING sum(sign) <> 0"
    )
    found: Counter[Booked] = Counter()
    for row in rows:
        ids = [row[name] for name in DIMENSIONS if row[name] is not None] + list(row["more"] or ())
        filed = tuple(sorted(words[number] for number in ids))
        booked = Booked._make([*(row[name] for name in Booked._fields[:-1]), filed])
        found[booked] += row["times"]
    return found


async def _buckets(connection: Any, table: str, words: dict[int, tuple[str, str]]) -> dict[Cell, Numbers]:
    rows = await connection.fetch(
        f"SELECT metric, dimension, at, value, n, sum, low, middle, high, histogram FROM {table}"
    )
    cells: dict[Cell, list[int]] = defaultdict(lambda: [0] * 6)
    for row in rows:
        dimension, value = words[row["value"]] if row["dimension"] else ("", "")
        cell = cells[row["metric"], dimension, value, row["at"]]
        held = 0
        if row["histogram"] is not None:
            held = sum(decode_histogram(row["histogram"]).values())
        for place, amount in enumerate(
            (*(row[name] for name in ("n", "sum", "low", "middle", "high")), held)
        ):
            cell[place] += amount
    return _settled(cells)


def buckets_of(
    ledger: Counter[Booked], unit_us: int, durations: frozenset[int], left_out: frozenset[int]
) -> dict[Cell, Numbers]:
    """Add up what the buckets must say from the ledger, but for the metrics that have none."""
    cells: dict[Cell, list[int]] = defaultdict(lambda: [0] * 6)
    for booked, times in ledger.items():
        if booked.metric in left_out:
            continue
        for dimension, value in (("", ""), *booked.words):
            cell = cells[booked.metric, dimension, value, booked.at // unit_us]
            cell[0] += times
            cell[1] += times * booked.value
            if booked.band is not None:
                cell[2 + booked.band] += times
            if booked.metric in durations:
                cell[5] += times
    return _settled(cells)


def _settled(cells: dict[Cell, list[int]]) -> dict[Cell, Numbers]:
    """Leave out cells that came to nothing: in another order they might never have been made."""
    return {cell: cast("Numbers", tuple(numbers)) for cell, numbers in cells.items() if any(numbers)}


async def positions(connection: Any) -> dict[tuple[str, int], tuple[int, str | None]]:
    """Read next offset and pause of every partition."""
    rows = await connection.fetch("SELECT topic, partition, next_offset, paused FROM offsets")
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


async def waiting(connection: Any) -> int:
    """Count outbox rows that are not relayed yet."""
    return cast("int", await connection.fetchval("SELECT count(*) FROM outbox"))


def samples(found: Iterable[object], limit: int = 3) -> str:
    """Quote a few of many."""
    some = sorted(map(repr, found))
    more = f" and {len(some) - limit} more" if len(some) > limit else ""
    return ", ".join(text[:200] for text in some[:limit]) + more
