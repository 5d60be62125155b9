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
RESPONSE_RATE, NEXT_RESPONSE, FIRST_CONTACT, CONTACT, HANDOFFS = 10, 12, 13, 14, 15
BACKLOG, SENTIMENT, MERGED_AWAY = 19, 20, 25
DURATIONS = frozenset({FIRST_RESPONSE, NEXT_RESPONSE, FIRST_RESOLUTION, FULL_RESOLUTION})
LEDGER_ONLY = frozenset({RESPONSE_RATE, FIRST_CONTACT, CONTACT, MERGED_AWAY})
"""What no bucket adds up."""
GENERATION = 200_000
"""Second version of the folds, no configuration of its own."""
POLARITY = {"The wait was terrible": -48}
"""What the lexicon says of the comments that `load` writes, in hundredths."""
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
        """Count and sum by metric, day and team, of what buckets add up."""
        totals: dict[tuple[int, int, str | None], tuple[int, int]] = {}
        for observed, times in self.observations.items():
            if observed.metric in LEDGER_ONLY:
                continue
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
    kinds = [variant.kind for _, _, variant in own]
    created = next((variant for _, _, variant in own if variant.kind == "created"), None)
    if created is None or "deleted" in kinds:
        return []
    team = _last_team(own)

    def observed(metric: int, value: int, at: int, band: int | None = None) -> Observed:
        return Observed(document, metric, value, band, at, team)

    statuses = _solves([variant for _, _, variant in own])
    if "merged" in kinds:
        return [observed(MERGED_AWAY, int(bool(statuses[1])), own[kinds.index("merged")][0])]
    found = [observed(VOLUME, 1, created.at)]
    inbound, waits = _waits(own, taken)
    if inbound:
        found.append(observed(CONTACT, 1, inbound[0]))
    for place, (since, answered) in enumerate(waits):
        first = place == 0 and created.data["created_by"] != "agent"
        metric = FIRST_RESPONSE if first else NEXT_RESPONSE
        found.append(observed(metric, (answered - since) // 1000, answered))
    if moves := _handoffs([variant for _, _, variant in own]):
        found.append(observed(HANDOFFS, moves, created.at, LOW if moves == 1 else HIGH))
    return found + [observed(*row) for row in _resolutions(created.at, statuses, len(inbound))]


def _resolutions(
    created_at: int, statuses: tuple[list[int], list[int], list[int], bool], inbound: int
) -> list[tuple[int, int, int]]:
    """Give metric, value and time of what a ticket's solves and reopenings add."""
    solves, reopenings, again, solved = statuses
    found = [(BACKLOG, 1, at) for at in reopenings] + [(BACKLOG, -1, at) for at in again]
    if solves:
        found.append((FIRST_RESOLUTION, max(0, solves[0] - created_at) // 1000, solves[0]))
        if reopenings:
            found.append((REOPEN, 1, solves[0]))
        elif inbound == 1:
            found.append((FIRST_CONTACT, 1, solves[0]))
        if solved:
            found.append((FULL_RESOLUTION, max(0, solves[-1] - created_at) // 1000, solves[-1]))
    return found


def _handoffs(events: list[Variant]) -> int:
    """Count the changes from one known team or agent to another; both at once are one."""
    known: dict[str, str] = {}
    moves = 0
    for variant in events:
        if variant.kind in {"created", "assigned"}:
            said = {part: variant.data.get(part) for part in ("team", "agent")}
            named = {part: name for part, name in said.items() if name}
            moves += any(part in known and known[part] != name for part, name in named.items())
            known |= named
    return moves


def _last_team(events: list[tuple[int, str, Variant]]) -> str | None:
    team: str | None = None
    for _, _, variant in events:
        if variant.kind == "assigned" or variant.data.get("team") is not None:
            team = _stored(variant.data.get("team"))
    return team


def _stored(text: str | None) -> str | None:
    """PostgreSQL has no NUL: the replacement character stands for it."""
    return text.replace("\x00", "\ufffd") if text else None


def _waits(
    own: list[tuple[int, str, Variant]], taken: list[tuple[int, str, Variant]]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Give when the customer wrote, and each wait from the oldest open message to the answer."""
    inbound: list[int] = []
    waits: list[tuple[int, int]] = []
    waiting: int | None = None
    for at, _, variant in sorted([*own, *taken], key=lambda item: item[:2]):
        author = variant.data.get("author") if variant.kind == "replied" and variant.data["public"] else None
        if author == "customer" or (variant.kind == "created" and variant.data["created_by"] == "customer"):
            inbound.append(at)
            waiting = at if waiting is None else waiting
        elif author == "agent" and waiting is not None:
            waits.append((waiting, at))
            waiting = None
    return inbound, waits


def _solves(events: list[Variant]) -> tuple[list[int], list[int], list[int], bool]:
    """Give the times of all solves, of reopenings, of solves that ended one, and whether it is solved now."""
    solves: list[int] = []
    reopenings: list[int] = []
    again: list[int] = []
    solved = False
    for variant in events:
        if variant.kind == "status_changed":
            if variant.data["status"] == "solved":
                if solves and not solved:
                    again.append(variant.at)
                solves.append(variant.at)
                solved = True
            else:
                if solved:
                    reopenings.append(variant.at)
                solved = False
    return solves, reopenings, again, solved


def _of_response(document: str, events: Document, facts: int) -> tuple[Score | None, list[Observed]]:
    standing = _standing(events)
    answers = [item for item in standing if item[2].kind == "responded"]
    found = [
        Observed(document, RESPONSE_RATE, int(bool(answers)), None, at, None)
        for at, _, variant in standing
        if variant.kind == "sent"
    ][:1]
    if not answers:
        return None, found
    at, _, answer = answers[-1]
    data = answer.data
    least, most, raw = data["scale"]["min"], data["scale"]["max"], data["score"]
    low_until, middle_until = {"nps": (6, 8), "csat": (2, 3), "ces": (3, 4)}[data["metric"]]
    band = LOW if raw <= low_until else MIDDLE if raw <= middle_until else HIGH
    # What an edit does not say again still holds.
    said = [variant.data["dimensions"]["team"] for _, _, variant in answers if variant.data["dimensions"]]
    team = _stored(said[-1]) if said else None
    score = Score(
        (GENERATION, facts),
        tuple(sorted(events)),
        raw,
        math.floor((raw - least) / (most - least) * 10_000 + 0.5),
        ("low", "middle", "high")[band],
        team,
    )
    metric = {"nps": NPS, "csat": CSAT, "ces": CES}[data["metric"]]
    found.append(Observed(document, metric, raw * 100, band, at, team))
    polarity = POLARITY.get(data.get("comment", ""))
    if polarity is not None:
        found.append(Observed(document, SENTIMENT, polarity, LOW if polarity < 0 else HIGH, at, team))
    return score, found
