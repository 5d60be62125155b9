"""Cases and their ids and timers: projections of the fold, written under their subject's lock."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, cast

import msgspec

from cxloop_alerting.domain.case import WantedTimer


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case as it is stored and shown."""

    case_id: str
    customer: str
    customer_id: str | None
    customer_hint: str | None
    rule: str
    status: str
    reason: str
    severity: str
    route: str
    copies: list[str]
    owner_kind: str
    owner_id: str
    owner_name: str
    owner_team: str | None
    score: dict[str, Any]
    triggers: list[str]
    documents: list[str]
    opened_at: datetime
    due_at: datetime | None
    acknowledged_at: datetime | None
    contacted_at: datetime | None
    resolved_at: datetime | None
    escalated_at: datetime | None
    escalated_to: str | None
    root_cause: str | None
    config: str
    changes: int
    context: dict[str, Any]
    supersedes: list[str]
    version: int

    def fields(self) -> dict[str, Any]:
        """Return the fields by name; unlike `asdict` it copies none, which is most of its time."""
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(field.name for field in fields(CaseRow))
_JSON = ("score", "context")
_SELECT = ", ".join(f"{name}::text AS {name}" if name in _JSON else name for name in NAMES)
_UPSERT = f"""
INSERT INTO cases ({", ".join(NAMES)})
SELECT {", ".join(f"r.{name}" for name in NAMES)} FROM jsonb_populate_recordset(NULL::cases, $1::text::jsonb) r
ORDER BY r.case_id
ON CONFLICT (case_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in NAMES if name != "case_id")}
"""
_UPSERT_TRIGGERS = """
INSERT INTO case_triggers AS t (trigger, case_id, version)
SELECT * FROM unnest($1::text[], $2::text[], $3::integer[])
ON CONFLICT (trigger) DO UPDATE
SET case_id = excluded.case_id, version = greatest(t.version, excluded.version)
"""
_UPSERT_TIMERS = """
INSERT INTO timers (id, case_id, kind, step, due_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::timestamptz[])
ON CONFLICT (id) DO UPDATE SET due_at = excluded.due_at, case_id = excluded.case_id
"""


async def cases_of(connection: Any, subjects: Collection[str]) -> list[CaseRow]:
    """Return the cases of these subjects."""
    rows = await connection.fetch(
        f"SELECT {_SELECT} FROM cases WHERE customer = ANY($1::text[])", list(subjects)
    )
    return [read_row(row) for row in rows]


async def find_case(connection: Any, case_id: str) -> CaseRow | None:
    """Return the case of this id."""
    row = await connection.fetchrow(f"SELECT {_SELECT} FROM cases WHERE case_id = $1", case_id)
    return None if row is None else read_row(row)


async def resolve_alias(connection: Any, trigger: str) -> str | None:
    """Return the case that an id leads to."""
    return cast(
        "str | None",
        await connection.fetchval("SELECT case_id FROM case_triggers WHERE trigger = $1", trigger),
    )


async def homes_of(connection: Any, triggers: Collection[str]) -> set[str]:
    """Return the subjects under which the cases of these triggers are stored."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT c.customer FROM case_triggers t JOIN cases c USING (case_id)
        WHERE t.trigger = ANY($1::text[])
        """,
        list(triggers),
    )
    return {row["customer"] for row in rows}


async def watched(connection: Any, subjects: Collection[str]) -> set[str]:
    """Return those of the subjects that have cases."""
    rows = await connection.fetch(
        "SELECT DISTINCT customer FROM cases WHERE customer = ANY($1::text[])", list(subjects)
    )
    return {row["customer"] for row in rows}


async def waiting_for_context(connection: Any, customers: Collection[str]) -> set[str]:
    """Return those of the customers who have an unclosed case without context."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT customer FROM cases
        WHERE customer = ANY($1::text[]) AND context = '{}' AND resolved_at IS NULL
        """,
        list(customers),
    )
    return {row["customer"] for row in rows}


async def open_cases(connection: Any) -> dict[str, int]:
    """Return the number of unclosed cases of each person."""
    rows = await connection.fetch(
        """
        SELECT owner_id, count(*) AS n FROM cases
        WHERE status IN ('open', 'reopened', 'acknowledged', 'contacted') GROUP BY owner_id
        """
    )
    return {row["owner_id"]: row["n"] for row in rows}


async def shown_versions(connection: Any, ids: Collection[str]) -> dict[str, int]:
    """Return the last version shown under ids that were cases before they became aliases."""
    rows = await connection.fetch(
        "SELECT trigger, version FROM case_triggers WHERE trigger = ANY($1::text[]) AND version > 0",
        list(ids),
    )
    return {row["trigger"]: row["version"] for row in rows}


async def write_cases(connection: Any, rows: Sequence[CaseRow], gone: Mapping[str, int]) -> None:
    """Write changed cases, and drop those that became aliases (`gone`: id to its last version)."""
    if gone:
        await connection.execute("DELETE FROM cases WHERE case_id = ANY($1::text[])", list(gone))
    if not rows:
        return
    encoded = msgspec.json.encode(rows).decode()
    await connection.execute(_UPSERT, encoded)
    triggers = {trigger: (row.case_id, gone.get(trigger, 0)) for row in rows for trigger in row.triggers}
    ordered = sorted(triggers)
    await connection.execute(
        _UPSERT_TRIGGERS,
        ordered,
        [triggers[trigger][0] for trigger in ordered],
        [triggers[trigger][1] for trigger in ordered],
    )


async def timers_of(connection: Any, case_ids: Collection[str], kind: str) -> set[str]:
    """Return the ids of the timers of one kind that these cases have."""
    rows = await connection.fetch(
        "SELECT id FROM timers WHERE case_id = ANY($1::text[]) AND kind = $2", list(case_ids), kind
    )
    return {row["id"] for row in rows}


async def write_timers(connection: Any, wanted: Sequence[WantedTimer], obsolete: Collection[str]) -> None:
    """Set the wanted timers and drop the obsolete ones."""
    if obsolete:
        await connection.execute("DELETE FROM timers WHERE id = ANY($1::text[])", sorted(obsolete))
    if wanted:
        ordered = sorted(wanted, key=lambda timer: timer.id)
        await connection.execute(
            _UPSERT_TIMERS,
            [timer.id for timer in ordered],
            [timer.case_id for timer in ordered],
            [timer.kind for timer in ordered],
            [timer.step for timer in ordered],
            [timer.due_at for timer in ordered],
        )


async def take_due_timer(connection: Any, now: datetime, passed: Collection[str]) -> WantedTimer | None:
    """Lock the timer that has been due for longest, passing over those others hold or this round has tried."""
    row = await connection.fetchrow(
        """
        SELECT id, case_id, kind, step, due_at FROM timers
        WHERE due_at <= $1 AND id <> ALL($2::text[])
        ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
        """,
        now,
        list(passed),
    )
    return (
        None
        if row is None
        else WantedTimer(*(row[name] for name in ("id", "case_id", "kind", "step", "due_at")))
    )


async def next_due(connection: Any) -> datetime | None:
    """Return when the next timer is due."""
    return cast("datetime | None", await connection.fetchval("SELECT min(due_at) FROM timers"))


def read_row(row: Any) -> CaseRow:
    """Make a case of a row that `_SELECT` gave."""
    values = {name: row[name] for name in NAMES}
    for name in _JSON:
        values[name] = msgspec.json.decode(values[name], type=dict[str, Any])
    return CaseRow(**values)


async def list_cases(
    connection: Any,
    *,
    limit: int,
    after: tuple[datetime, str] | None,
    filters: Mapping[str, str],
) -> list[CaseRow]:
    """Return cases, the newest first; `filters` are column names of ours with the value each must have."""
    conditions = ["true"]
    values: list[Any] = [limit]
    for column, value in filters.items():
        values.append(value)
        conditions.append(f"{column} = ${len(values)}")
    if after is not None:
        values.extend(after)
        conditions.append(f"(opened_at, case_id) < (${len(values) - 1}, ${len(values)})")
    rows = await connection.fetch(
        f"SELECT {_SELECT} FROM cases WHERE {' AND '.join(conditions)} "
        "ORDER BY opened_at DESC, case_id DESC LIMIT $1",
        *values,
    )
    return [read_row(row) for row in rows]
