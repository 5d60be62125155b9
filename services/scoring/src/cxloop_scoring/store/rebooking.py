"""Documents, held against the ledger: what it lacks is appended, what it has too much is withdrawn.

The links of cases are held against what their records name in the same way.

First the net ledger is brought together by document once, in a table of this connection; documents are then
compared with it in pages. Only those that differ are locked, read again and booked in small transactions: a
worker that had read one of them finds it changed and tries its batch again, as when two workers meet.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from cxloop_common.database import Database
from cxloop_common.kafka.records import Message
from cxloop_common.processor.outbox import enqueue
from cxloop_common.topics import SCORES, TopicNames
from cxloop_scoring.domain.buckets import VALUE_BITS, Changes, Entry, Resolved
from cxloop_scoring.domain.dimensions import COLUMNS, Dimensions
from cxloop_scoring.domain.documents import contributions, fold, times_of_their_own
from cxloop_scoring.domain.facts import Facts, decode_facts
from cxloop_scoring.domain.instants import instant, microseconds
from cxloop_scoring.domain.metrics import LIFELONG, MetricNumber
from cxloop_scoring.domain.observations import Observation, as_signed
from cxloop_scoring.domain.responses import Response
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.domain.scores import score_of
from cxloop_scoring.store.case_links import links_to_mend, mend_links
from cxloop_scoring.store.rebuilding import CORRECTIONS
from cxloop_scoring.store.scales import SurveyScale, scales_of
from cxloop_scoring.store.vocabulary import Vocabulary
from cxloop_scoring.store.writing import (
    BUCKET_TABLES,
    ChangedDocument,
    ConcurrentChangeError,
    StoredDocument,
    add_to_buckets,
    append_ledger,
    read_documents,
    write_documents,
)

PAGE: Final = 2_000
"""Documents compared at a time."""
_AT_ONCE: Final = 500
"""Documents booked in one transaction: short, for a worker that needs one of them has to try again."""
_ROUNDS: Final = 600
_PAUSE_S: Final = 0.1
"""Between two looks at documents that workers were writing: a batch takes about that long."""

_KEY = f"metric, value, band, at, customer, ticket, {', '.join(COLUMNS)}, more"
_HELD_KEY = (
    f"l.metric, l.value, l.band, l.at, l.customer, l.ticket, {', '.join(f'l.{n}' for n in COLUMNS)}, l.more"
)
_LOCK = "SELECT id FROM documents WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
_BEGIN = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS booked ON COMMIT PRESERVE ROWS AS
    SELECT document, {_KEY}, 0::int4 AS times FROM ledger LIMIT 0
"""
_BRING_TOGETHER = f"""
    INSERT INTO pg_temp.booked (document, {_KEY}, times)
    SELECT document, {_KEY}, sum(sign)::int4 FROM ledger
    WHERE at >= $1 OR metric = ANY($2::int2[])
    GROUP BY document, {_KEY} HAVING sum(sign) <> 0
"""
_PAGE = """
    SELECT id, generation, facts, age(xmin) <= age($2::text::xid8::xid) AS moved
    FROM documents WHERE id > $1 ORDER BY id LIMIT $3
"""
_OF_PAGE = f"SELECT document, {_KEY}, times FROM pg_temp.booked WHERE document >= $1 AND document <= $2"
_ORPHANS = """
    SELECT count(DISTINCT document) FROM pg_temp.booked AS b
    WHERE NOT EXISTS (SELECT FROM documents AS d WHERE d.id = b.document)
"""
_NOW = f"""
    SELECT l.document, {_HELD_KEY}, sum(l.sign)::int4 AS times
    FROM unnest($1::text[], $2::timestamptz[]) AS u (document, at)
    JOIN ledger AS l ON l.at = u.at AND l.document = u.document
    WHERE l.metric = ANY($3::int2[])
    GROUP BY l.document, {_HELD_KEY} HAVING sum(l.sign) <> 0
"""
_NUMBERS: Final = [int(number) for number in MetricNumber]
_DIMENSIONS_OF = "SELECT id, dimension FROM dimension_values WHERE id = ANY($1::int4[])"


class Held(NamedTuple):
    """An observation as the ledger holds it; the dimensions are value ids, `at` microseconds."""

    metric: int
    value: int
    band: int | None
    at: int
    customer: int | None
    ticket: str | None
    columns: tuple[int | None, ...]
    more: tuple[int, ...] | None


class Rebooked(NamedTuple):
    """What became of documents."""

    outdated: int = 0
    """Booked anew, for their generation was an older one."""
    mended: int = 0
    """Of this generation, yet the ledger said something else of them."""
    rows: int = 0
    """Ledger rows appended."""
    links: int = 0
    """Links of cases that were lacking or too many."""

    def __add__(self, other: tuple[Any, ...]) -> "Rebooked":
        """Add up two of them."""
        return Rebooked(*map(sum, zip(self, other, strict=True)))


class Page(NamedTuple):
    """Documents that were compared."""

    last: str
    checked: int
    differing: list[str]
    scales: set[SurveyScale]
    """By which the answers among them were given."""


class Rebooking:
    """Holds documents against the ledger on one connection, by the rules in force."""

    def __init__(
        self,
        database: Database,
        connection: asyncpg.Connection,
        names: TopicNames,
        now: Callable[[], datetime],
        *,
        rules: Rules,
        ledger_from: datetime | None,
    ) -> None:
        self._vocabulary = Vocabulary(database)
        self._connection = connection
        self._scores = names.name(SCORES)
        self._now = now
        self._from = -(1 << 62) if ledger_from is None else microseconds(ledger_from)
        self._rules = rules
        self._generation = rules.generation
        self._snapshot = ""

    async def take_stock(self) -> None:
        """Bring the net ledger together by document; everything that changes from here on is looked at again."""
        connection = self._connection
        self._snapshot = await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        await connection.execute("SET work_mem = '256MB'")
        await connection.execute(_BEGIN)
        await connection.execute(_BRING_TOGETHER, instant(max(self._from, 0)), list(LIFELONG))
        await connection.execute("CREATE INDEX ON pg_temp.booked (document)")
        await connection.execute("ANALYZE pg_temp.booked")

    async def orphans(self) -> int:
        """Count what the ledger holds of documents that do not exist: lost data, left as it is."""
        return await self._connection.fetchval(_ORPHANS)

    async def compare(self, after: str) -> Page | None:
        """Compare the next page of documents; None behind the last one."""
        connection = self._connection
        rows = await connection.fetch(_PAGE, after, self._snapshot, PAGE)
        if not rows:
            return None
        last: str = rows[-1]["id"]
        held: dict[str, Counter[Held]] = {}
        for row in await connection.fetch(_OF_PAGE, rows[0]["id"], last):
            held.setdefault(row[0], Counter())[_held(row)] = row["times"]
        # What a newer version of the software has booked is not ours to judge.
        ours = [row for row in rows if row["generation"] <= self._generation]
        facts = {row["id"]: decode_facts(row["facts"]) for row in ours}
        same = {row["id"]: facts[row["id"]] for row in ours if self._is_current(row)}
        wanted = await self._wanted(same)
        linked = {link.case_document for links in await links_to_mend(connection, same) for link in links}
        differing = [
            id_
            for id_ in facts
            if id_ not in same or id_ in linked or wanted[id_] != held.get(id_, Counter())
        ]
        return Page(last, len(rows), differing, scales_of(facts))

    def _is_current(self, row: asyncpg.Record) -> bool:
        return row["generation"] == self._generation and not row["moved"]

    async def book(self, documents: Sequence[str], *, write: bool = True) -> Rebooked:
        """Book documents as their facts say, where the ledger says otherwise or an older generation did it.

        With `write=False` only count. A document that a worker is writing is left for the next round, so that
        neither waits for the other; raises ConcurrentChangeError where that never ends.
        """
        done = Rebooked()
        waiting = list(documents)
        for _ in range(_ROUNDS):
            busy: list[str] = []
            for place in range(0, len(waiting), _AT_ONCE):
                some = waiting[place : place + _AT_ONCE]
                async with self._connection.transaction():
                    ours = await self._locked(some) if write else some
                    done += await self._book(ours, write=write)
                busy += sorted({*some}.difference(ours))
            if not busy:
                return done
            waiting = busy
            await asyncio.sleep(_PAUSE_S)
        raise ConcurrentChangeError(f"workers have kept {len(waiting)} documents to themselves")

    async def _locked(self, documents: Sequence[str]) -> list[str]:
        """Lock documents that are free: a worker that read them before will find them changed, and try again."""
        return [row[0] for row in await self._connection.fetch(_LOCK, documents)]

    async def _book(self, documents: Sequence[str], *, write: bool) -> Rebooked:
        connection = self._connection
        stored = await read_documents(connection, documents)
        stored = {id_: one for id_, one in stored.items() if one.generation <= self._generation}
        wanted = await self._wanted({id_: document.facts for id_, document in stored.items()})
        held = await self._in_force(stored, wanted)
        links = await links_to_mend(connection, {id_: one.facts for id_, one in stored.items()})
        linked = {link.case_document for some in links for link in some}
        signed: list[tuple[str, int, Held]] = []
        outdated, mended = list[str](), list[str]()
        for id_ in sorted(stored):
            news = _differences(held.get(id_, Counter()), wanted[id_])
            signed += [(id_, sign, one) for sign, one in news]
            if stored[id_].generation != self._generation:
                outdated.append(id_)
            elif news:
                mended.append(id_)
        touched = dict.fromkeys((*outdated, *mended, *sorted(linked)))
        if write and touched:
            # Those that are right but for the ledger are written too: a worker that has read them must notice.
            await self._write({id_: stored[id_] for id_ in touched}, wanted, signed)
            await self._announce(outdated, stored)
            await mend_links(connection, {id_: stored[id_].facts for id_ in linked}, links, self._now())
        return Rebooked(len(outdated), len(mended), len(signed), sum(map(len, links)))

    async def _write(
        self,
        stored: Mapping[str, StoredDocument],
        wanted: Mapping[str, Counter[Held]],
        signed: Sequence[tuple[str, int, Held]],
    ) -> None:
        connection = self._connection
        changed = [
            ChangedDocument(
                id_, CORRECTIONS, one.facts, one.version, times_of_their_own(one.facts, wanted[id_])
            )
            for id_, one in stored.items()
        ]
        await write_documents(connection, changed, self._generation)
        dimensions = await self._dimensions_of(one for _, _, one in signed)
        entries = [_entry(sign, one, dimensions) for _, sign, one in signed]
        await append_ledger(connection, entries, [document for document, _, _ in signed], self._now())
        changes = Changes(entries)
        for table, rows in zip(BUCKET_TABLES, (changes.hours(), changes.days()), strict=True):
            await add_to_buckets(connection, table, rows)

    async def _announce(self, outdated: Sequence[str], stored: Mapping[str, StoredDocument]) -> None:
        messages = [self._score(id_, stored[id_].facts) for id_ in outdated]
        await enqueue(self._connection, [message for message in messages if message is not None])

    def _score(self, document: str, facts: Facts) -> Message | None:
        folded = fold(document, facts)
        if not isinstance(folded, Response):
            return None
        score = score_of(document, facts, folded, self._generation)
        return Message(self._scores, score.key, score.value, score.headers)

    async def _wanted(self, documents: Mapping[str, Facts]) -> dict[str, Counter[Held]]:
        """Give what the ledger should hold of documents, as far back as it is kept."""
        found = {
            id_: [one for one in contributions(id_, facts, self._rules) if self._is_kept(one.metric, one.at)]
            for id_, facts in documents.items()
        }
        resolved = await self._vocabulary.resolve({one.dimensions for some in found.values() for one in some})
        return {
            id_: Counter(_as_held(one, resolved[one.dimensions]) for one in some)
            for id_, some in found.items()
        }

    def _is_kept(self, metric: int, at: int) -> bool:
        return at >= self._from or metric in LIFELONG

    async def _in_force(
        self, stored: Mapping[str, StoredDocument], wanted: Mapping[str, Counter[Held]]
    ) -> dict[str, Counter[Held]]:
        """Give what the ledger holds now: at the times of facts, of what should be there, and of what was found."""
        times = {
            (id_, at)
            for id_, document in stored.items()
            for at in (
                *(fact.at for fact in document.facts.values()),
                *document.booked_at,
                *(one.at for one in wanted[id_]),
            )
        }
        found = await self._connection.fetch(
            "SELECT DISTINCT document, at FROM pg_temp.booked WHERE document = ANY($1::text[])", list(stored)
        )
        times.update((row[0], microseconds(row[1])) for row in found)
        ordered = sorted(times)
        rows = await self._connection.fetch(
            _NOW,
            [document for document, _ in ordered],
            [instant(at) for _, at in ordered],
            _NUMBERS,
        )
        held: dict[str, Counter[Held]] = {}
        for row in rows:
            one = _held(row)
            if self._is_kept(one.metric, one.at):
                held.setdefault(row[0], Counter())[one] = row["times"]
        return held

    async def _dimensions_of(self, held: Iterable[Held]) -> dict[int, int]:
        ids = sorted({id_ for one in held for id_ in one.more or ()})
        return {row[0]: row[1] for row in await self._connection.fetch(_DIMENSIONS_OF, ids)}


def _held(row: asyncpg.Record) -> Held:
    """Read a row: document, the key, and last how often."""
    found = list(row)
    more = found[-2]
    filed = (tuple(found[7:-2]), None if more is None else tuple(more))
    return Held._make([*found[1:4], microseconds(found[4]), *found[5:7], *filed])


def _as_held(one: Observation, resolved: Resolved) -> Held:
    return Held(
        one.metric,
        one.value,
        one.band,
        one.at,
        one.customer,
        one.ticket,
        resolved.columns,
        resolved.more,
    )


def _differences(booked: Mapping[Held, int], wanted: Mapping[Held, int]) -> list[tuple[int, Held]]:
    """Give pairs of sign and observation that turn one multiset into the other, withdrawals first."""
    lacking = {one: wanted.get(one, 0) - booked.get(one, 0) for one in {*booked, *wanted}}
    return sorted(as_signed(lacking), key=lambda pair: (pair[0], pair[1].metric, pair[1].at, pair[1].value))


def _entry(sign: int, held: Held, dimensions: Mapping[int, int]) -> Entry:
    cells = [0]
    cells += [
        number << VALUE_BITS | id_ for number, id_ in enumerate(held.columns, start=1) if id_ is not None
    ]
    cells += [dimensions[id_] << VALUE_BITS | id_ for id_ in held.more or ()]
    # The texts of the dimensions are not needed any more: their numbers are what is written.
    observation = Observation(
        held.metric, held.value, held.band, held.at, held.customer, Dimensions(), held.ticket
    )
    return Entry(sign, observation, CORRECTIONS, Resolved(held.columns, held.more, tuple(cells)))
