"""What must be true, worked out from the acknowledged records alone.

Plain Python over JSON, sharing no code with the services: it is the second opinion. It is slow and simple, and
knows only the event types that `load` writes.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from tests.faults.wire import LogRecord

NPS, CSAT, CES, VOLUME, FIRST_RESPONSE, FIRST_RESOLUTION, FULL_RESOLUTION, REOPEN = range(1, 9)
LOW, MIDDLE, HIGH = range(3)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000


class Variant(NamedTuple):
    """One content of an event. Of two under one id the least stands: earliest, then by content hash."""

    at: int
    digest: bytes
    kind: str
    data: Mapping[str, Any]


class Observed(NamedTuple):
    """One value that a document adds to a metric; at in microseconds since 1970, value in the ledger's unit."""

    document: str
    metric: int
    value: int
    band: int | None
    at: int
    team: str | None


@dataclass(frozen=True)
class Score:
    """The last word on a response."""

    revision: tuple[int, int]
    event_ids: tuple[str, ...]
    raw: float
    normalised: int
    band: str
    team: str | None


@dataclass
class Expected:
    """The state that the acknowledged records lead to, whatever order they took."""

    facts: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Document to the keys of its facts; one that lost against another content is `id`, NUL, time, hash."""
    observations: Counter[Observed] = field(default_factory=Counter[Observed])
    scores: dict[str, Score] = field(default_factory=dict[str, Score])

    def totals(self) -> dict[tuple[int, int, str | None], tuple[int, int]]:
        """Count and sum by metric, day and team."""
        totals: dict[tuple[int, int, str | None], tuple[int, int]] = {}
        for observed, times in self.observations.items():
            place = (observed.metric, observed.at // DAY_US, observed.team)
            n, total = totals.get(place, (0, 0))
            totals[place] = (n + times, total + times * observed.value)
        return totals


Document = dict[str, dict[tuple[int, bytes], Variant]]
"""Event id to its contents."""


def expected(records: Iterable[LogRecord]) -> Expected:
    """Work out the state from records that are all readable events."""
    documents: dict[str, Document] = defaultdict(dict)
    for record in records:
        document, event_id, variant = _read(record)
        documents[document].setdefault(event_id, {})[variant.at, variant.digest] = variant
    result = Expected()
    linked = _linked(documents)
    for document in {*documents, *linked}:
        own = documents.get(document, {})
        taken = linked.get(document, {})
        result.facts[document] = _keys(own) | _keys(taken)
        if document.startswith("ticket:"):
            result.observations.update(_of_ticket(document, _standing(own), _standing(taken)))
        elif document.startswith("response:"):
            score, found = _of_response(document, own, len(result.facts[document]))
            result.observations.update(found)
            if score is not None:
                result.scores[document] = score
    return result


def _read(record: LogRecord) -> tuple[str, str, Variant]:
    data = cast("dict[str, Any]", json.loads(record.value))
    headers = {name: value.decode() for name, value in record.headers.items()}
    at = (datetime.fromisoformat(headers["ce_time"]) - EPOCH) // timedelta(microseconds=1)
    kind = headers["ce_type"]
    name = "ticket" if kind.startswith("cxloop.ticket.") else "response"
    document = f"{name}:{headers['ce_source']}:{data[f'{name}_id']}"
    digest = blake2b(record.value, digest_size=16).digest()
    return document, headers["ce_id"], Variant(at, digest, kind.rpartition(".")[2], data)


def _standing(document: Document) -> list[tuple[int, str, Variant]]:
    """Give what stands of each event, in order of time, ties by id."""
    found = [(min(variants), event_id, variants) for event_id, variants in document.items()]
    return sorted((key[0], event_id, variants[key]) for key, event_id, variants in found)


def _keys(document: Document) -> frozenset[str]:
    keys: set[str] = set()
    for event_id, variants in document.items():
        first, *rest = sorted(variants)
        del first
        keys.add(event_id)
        keys.update(f"{event_id}\x00{at}.{digest[:8].hex()}" for at, digest in rest)
    return frozenset(keys)


def _linked(documents: Mapping[str, Document]) -> dict[str, Document]:
    """Give to each survivor what it takes over from the tickets that were merged into it."""
    linked: dict[str, Document] = defaultdict(dict)
    for document, events in documents.items():
        for _, _, merge in _standing(events):
            if merge.kind == "merged":
                source = document.split(":")[1]
                linked[f"ticket:{source}:{merge.data['into_ticket_id']}"].update(events)
    return linked


def _of_ticket(
    document: str, own: list[tuple[int, str, Variant]], taken: list[tuple[int, str, Variant]]
) -> list[Observed]:
    created = next((variant for _, _, variant in own if variant.kind == "created"), None)
    if created is None or any(variant.kind in {"merged", "deleted"} for _, _, variant in own):
        return []
    team = _last_team(own)
    found = [Observed(document, VOLUME, 1, None, created.at, team)]
    if created.data["created_by"] != "agent":
        found += _first_response(document, own, taken, team)
    solves, reopened, solved = _solves([variant for _, _, variant in own])
    if solves:
        first, last = solves[0], solves[-1]
        found.append(
            Observed(document, FIRST_RESOLUTION, max(0, first - created.at) // 1000, None, first, team)
        )
        found.append(Observed(document, REOPEN, int(reopened), None, first, team))
        if solved:
            took = max(0, last - created.at) // 1000
            found.append(Observed(document, FULL_RESOLUTION, took, None, last, team))
    return found


def _last_team(events: list[tuple[int, str, Variant]]) -> str | None:
    team: str | None = None
    for _, _, variant in events:
        if variant.kind == "assigned" or variant.data.get("team") is not None:
            team = _stored(variant.data.get("team"))
    return team


def _stored(text: str | None) -> str | None:
    """PostgreSQL has no NUL: the replacement character stands for it."""
    return text.replace("\x00", "\ufffd") if text else None


def _first_response(
    document: str,
    own: list[tuple[int, str, Variant]],
    taken: list[tuple[int, str, Variant]],
    team: str | None,
) -> list[Observed]:
    asked: list[int] = []
    answered: list[int] = []
    for at, _, variant in sorted([*own, *taken], key=lambda item: item[:2]):
        author = variant.data.get("author") if variant.kind == "replied" else None
        if variant.kind == "created" and variant.data["created_by"] == "customer":
            asked.append(at)
        elif author in {"customer", "agent"} and variant.data["public"]:
            (asked if author == "customer" else answered).append(at)
    if not asked:
        return []
    reply = next((at for at in answered if at >= asked[0]), None)
    if reply is None:
        return []
    return [Observed(document, FIRST_RESPONSE, (reply - asked[0]) // 1000, None, reply, team)]


def _solves(events: list[Variant]) -> tuple[list[int], bool, bool]:
    """Give the times of all solves, whether the ticket was ever opened again, and whether it is solved now."""
    solves: list[int] = []
    solved = reopened = False
    for variant in events:
        if variant.kind == "status_changed":
            if variant.data["status"] == "solved":
                solves.append(variant.at)
                solved = True
            else:
                reopened = reopened or solved
                solved = False
    return solves, reopened, solved


def _of_response(document: str, events: Document, facts: int) -> tuple[Score | None, list[Observed]]:
    answers = [item for item in _standing(events) if item[2].kind == "responded"]
    if not answers:
        return None, []
    at, _, answer = answers[-1]
    data = answer.data
    least, most, raw = data["scale"]["min"], data["scale"]["max"], data["score"]
    low_until, middle_until = {"nps": (6, 8), "csat": (2, 3), "ces": (3, 4)}[data["metric"]]
    band = LOW if raw <= low_until else MIDDLE if raw <= middle_until else HIGH
    team = _stored(data["dimensions"].get("team"))
    score = Score(
        (1, facts),
        tuple(sorted(events)),
        raw,
        math.floor((raw - least) / (most - least) * 10_000 + 0.5),
        ("low", "middle", "high")[band],
        team,
    )
    metric = {"nps": NPS, "csat": CSAT, "ces": CES}[data["metric"]]
    return score, [Observed(document, metric, raw * 100, band, at, team)]
