"""A rebuild brings back what documents say, changes nothing that is right, and disturbs no worker."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cxloop_common.events import (
    AlertRecord,
    CanonicalEventBase,
    Owner,
    SurveyResponded,
    TicketAssigned,
    TicketCreated,
    TicketReplied,
    TicketStatusChanged,
)
from cxloop_common.events.outcomes import AlertScore
from cxloop_common.topics import SCORES, TopicNames
from cxloop_scoring.domain.answers import Answer, answer
from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.domain.histogram import decode_histogram, duration_bin
from cxloop_scoring.domain.instants import microseconds
from cxloop_scoring.domain.metrics import CATALOGUE, DURATIONS, LEDGER_ONLY, Plan
from cxloop_scoring.domain.questions import Filter, Question
from cxloop_scoring.domain.windows import Span
from cxloop_scoring.generations import RulesInForce, own_files
from cxloop_scoring.rebuild import BUSY, RIGHT, SUPERSEDED, WRONG, Outcome, rebuild
from cxloop_scoring.store.questions import Questions
from cxloop_scoring.store.rebuilding import CORRECTIONS, BusyError, rebuild_lock

END = datetime(2026, 3, 20, 9, 30, tzinfo=UTC)
DAYS = 9


def history(seed: int, size: int) -> list[CanonicalEventBase]:
    """Make tickets and answers, edits among them, with every kind of dimension."""
    chance = random.Random(seed)  # noqa: S311 - test data
    events: list[CanonicalEventBase] = []
    number = 0

    def fields(at: datetime, **more: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        return {"id": f"event-{seed}-{number}", "time": at, **more}

    for ticket in range(size):
        base: dict[str, Any] = {"source": "zd", "ticket_id": f"{seed}.{ticket}"}
        at = END - timedelta(seconds=chance.randrange(DAYS * 86_400))
        said = {"segment": chance.choice(["smb", "enterprise"]), "plan": chance.choice(["gold", "free"])}
        events.append(
            TicketCreated(
                **fields(at, **base),
                channel=chance.choice(["email", "chat"]),
                created_by="customer",
                tags=("vip",) if chance.random() < 0.3 else None,
                dimensions=said,
                identifiers=(f"email:c{chance.randrange(20)}@example.com",),
            )
        )
        for _ in range(chance.randrange(4)):
            at += timedelta(minutes=chance.randrange(1, 500))
            events.append(
                TicketReplied(
                    **fields(at, **base),
                    message_id="m",
                    author=chance.choice(["agent", "customer"]),
                    public=True,
                )
            )
        if chance.random() < 0.5:
            events.append(
                TicketAssigned(**fields(at, **base), team=chance.choice(["billing", "returns"]), agent=None)
            )
        for status in chance.choice([(), ("solved",), ("solved", "open"), ("solved", "open", "solved")]):
            at += timedelta(minutes=chance.randrange(1, 900))
            events.append(TicketStatusChanged(**fields(at, **base), status=status))  # type: ignore[arg-type]
    for response in range(size):
        metric, least, most = chance.choice([("nps", 0, 10), ("csat", 1, 5), ("ces", 1, 7)])
        at = END - timedelta(seconds=chance.randrange(DAYS * 86_400))
        for _ in range(chance.choice([1, 1, 2])):
            events.append(
                SurveyResponded(
                    **fields(at, source="sm"),
                    response_id=f"{seed}.{response}",
                    metric=metric,  # type: ignore[arg-type]
                    score=chance.randint(least, most),
                    scale={"min": least, "max": most},  # type: ignore[arg-type]
                    dimensions={"team": chance.choice(["billing", "returns"])},
                )
            )
            at += timedelta(minutes=chance.randrange(1, 500))
    chance.shuffle(events)
    return events


async def bucket_sums(worker: Any, table: str) -> dict[Any, Any]:
    """Add the shards up, as every question does; what comes to nothing is as good as absent."""
    sums: dict[Any, list[Any]] = {}
    for row in await worker.connection.fetch(f"SELECT * FROM {table}"):
        key = (row["metric"], row["dimension"], row["value"], row["at"])
        cell = sums.setdefault(key, [0, 0, 0, 0, 0, 0, Counter()])
        for place, name in enumerate(("n", "sum", "squares", "low", "middle", "high")):
            cell[place] += row[name]
        for bin_, count in decode_histogram(row["histogram"] or b"").items():
            cell[6][bin_] += count
    found = {key: (*cell[:6], {b: n for b, n in cell[6].items() if n}) for key, cell in sums.items()}
    return {key: cell for key, cell in found.items() if any(cell)}


async def recomputed(worker: Any, hours: int) -> dict[Any, Any]:
    """Add up the ledger as the buckets should have it, in Python alone."""
    dimension = {
        row[0]: row[1] for row in await worker.connection.fetch("SELECT id, dimension FROM dimension_values")
    }
    sums: dict[Any, list[Any]] = {}
    for row in await worker.connection.fetch("SELECT * FROM ledger"):
        metric, sign, value = row["metric"], row["sign"], row["value"]
        if metric in LEDGER_ONLY:
            continue
        slot = int(row["at"].timestamp()) // (3600 * hours)
        ids = [row[name] for name in COLUMNS if row[name] is not None]
        for id_ in (0, *ids, *(row["more"] or ())):
            cell = sums.setdefault(
                (metric, dimension.get(id_, 0), id_, slot), [0, 0, 0, 0, 0, 0, defaultdict(int)]
            )
            cell[0] += sign
            cell[1] += sign * value
            if metric in DURATIONS:
                cell[6][duration_bin(value)] += sign
                continue
            cell[2] += sign * value * value
            if row["band"] is not None:
                cell[3 + row["band"]] += sign
    found = {key: (*cell[:6], {b: n for b, n in cell[6].items() if n}) for key, cell in sums.items()}
    return {key: cell for key, cell in found.items() if any(cell)}


async def answers(worker: Any) -> list[dict[tuple[int, str | None], Answer]]:
    """Ask every metric for windows, groups, a filter and what was known before."""
    span = (Span(microseconds(END - timedelta(days=5, minutes=11)), microseconds(END)),)
    found: list[dict[tuple[int, str | None], Answer]] = []
    for metric in (one for one in CATALOGUE.values() if one.plan is not Plan.JOINED):
        for question in (
            Question(metric, span),
            Question(metric, span, by="team"),
            Question(metric, span, by="plan"),
            Question(metric, span, (Filter("segment", "smb"), Filter("tag", "vip"))),
            Question(metric, span, as_of=worker.now - timedelta(hours=1)),
        ):
            sums = await Questions(worker.database).sums(question)
            found.append({key: answer(metric, one, unsuppress=True) for key, one in sums.items() if one.n})
    return found


async def state(worker: Any) -> tuple[Any, ...]:
    return (
        await bucket_sums(worker, "bucket_hour"),
        await bucket_sums(worker, "bucket_day"),
        await worker.net_ledger(),
        await answers(worker),
    )


async def rebuilt(worker: Any, **options: Any) -> Outcome:
    return await rebuild(worker.database, TopicNames(), now=lambda: worker.now, **options)


async def ledger_rows(worker: Any) -> int:
    found: int = await worker.connection.fetchval("SELECT count(*) FROM ledger")
    return found


@pytest.fixture
async def filled(worker: Any) -> Any:
    await worker.deliver(history(1, 60), seed=3, largest=100)
    worker.now += timedelta(hours=3)
    await worker.deliver(history(2, 60), seed=4, largest=100)
    return worker


async def test_what_is_right_stays_untouched(filled: Any) -> None:
    before, rows = await state(filled), await ledger_rows(filled)
    outcome = await rebuilt(filled)
    assert outcome.was_right
    assert outcome.documents == 240
    assert (outcome.outdated, outcome.ledger_rows) == (0, 0)
    assert await ledger_rows(filled) == rows
    assert (
        await filled.connection.fetchval("SELECT count(*) FROM bucket_hour WHERE shard = $1", CORRECTIONS)
        == 0
    )
    assert await state(filled) == before


DAMAGES = {
    "deleted": "DELETE FROM {table} WHERE (at + value + metric) % 3 = 0",
    "all gone": "TRUNCATE {table}",
    "doubled": "UPDATE {table} SET n = 2 * n, sum = 2 * sum, squares = 2 * squares, low = 2 * low, "
    "histogram = histogram || histogram WHERE (at + value) % 2 = 0",
    "a lone count": "UPDATE {table} SET n = n + 1 WHERE dimension = 0",
    "other values": "UPDATE {table} SET sum = sum + 17, middle = middle - 3 WHERE metric IN (1, 2)",
    "moved to another hour": "UPDATE {table} SET at = at + 1, shard = shard + 100 WHERE dimension = 4",
    "a cut histogram": "UPDATE {table} SET histogram = substr(histogram, 1, 4) WHERE dimension = 0",
    "no histogram": "UPDATE {table} SET histogram = NULL WHERE metric = 6",
    "a foreign histogram": r"UPDATE {table} SET histogram = '\x010001000000' WHERE metric IN (5, 7)",
}


@pytest.mark.parametrize("table", ["bucket_hour", "bucket_day"])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_bucket_is_brought_back(filled: Any, table: str, damage: str) -> None:
    before = await state(filled)
    await filled.connection.execute(DAMAGES[damage].format(table=table))
    looked = await rebuilt(filled, write=False)
    assert looked.buckets
    assert (await rebuilt(filled)).buckets == looked.buckets
    assert await state(filled) == before
    assert (await rebuilt(filled)).was_right


async def test_buckets_go_on_being_right_after_a_correction(filled: Any) -> None:
    await filled.connection.execute(DAMAGES["doubled"].format(table="bucket_hour"))
    await filled.connection.execute(DAMAGES["no histogram"].format(table="bucket_day"))
    await rebuilt(filled)
    await filled.deliver(history(3, 60), seed=5, largest=50)
    assert await bucket_sums(filled, "bucket_hour") == await recomputed(filled, 1)
    assert await bucket_sums(filled, "bucket_day") == await recomputed(filled, 24)


async def test_what_the_ledger_lacks_is_appended_and_no_row_of_it_is_rewritten(filled: Any) -> None:
    before = await state(filled)
    connection = filled.connection
    await connection.execute("DELETE FROM ledger WHERE hashtext(document || metric) % 4 = 0")
    # One that no fact explains, at a time that no fact has.
    await connection.execute(
        "INSERT INTO ledger (document, metric, sign, value, band, at, recorded_at) "
        "SELECT id, 1, 1, 900, 2, '2026-03-15 12:34:56.789+00', now() FROM documents WHERE id LIKE 'response:%' LIMIT 1"
    )
    held = Counter(map(repr, await connection.fetch("SELECT * FROM ledger")))
    outcome = await rebuilt(filled)
    assert outcome.mended > 10
    assert outcome.ledger_rows > 10
    now = Counter(map(repr, await connection.fetch("SELECT * FROM ledger")))
    assert not held - now
    assert (now - held).total() == outcome.ledger_rows
    after = await state(filled)
    assert after[:3] == before[:3]
    assert (await rebuilt(filled)).was_right


async def test_documents_of_an_older_generation_are_booked_anew_and_published(filled: Any) -> None:
    before = await state(filled)
    # As if an older formula had booked nothing for half of them.
    await filled.connection.execute("UPDATE documents SET generation = generation - 1")
    await filled.connection.execute("DELETE FROM ledger WHERE hashtext(document) % 2 = 0")
    await rebuilt(filled)
    assert (await state(filled))[:3] == before[:3]
    published = await filled.connection.fetch("SELECT * FROM outbox ORDER BY id")
    assert {row["topic"] for row in published} == {SCORES.name}
    scores = [json.loads(row["value"]) for row in published]
    documents = await filled.documents()
    assert {one["document"] for one in scores} == {id_ for id_ in documents if id_.startswith("response:")}
    for one in scores:
        generation, facts = documents[one["document"]]
        assert one["revision"] == [generation, len(facts)]
    assert (await rebuilt(filled)).was_right


async def test_orphans_are_reported_and_left_alone(filled: Any) -> None:
    await filled.connection.execute("DELETE FROM documents WHERE id LIKE 'response:%'")
    rows = await ledger_rows(filled)
    outcome = await rebuilt(filled)
    assert outcome.orphans == 120
    assert await ledger_rows(filled) == rows
    assert not outcome.was_right


async def test_a_rebuild_beside_a_working_worker_ends_right(filled: Any) -> None:
    await filled.connection.execute(DAMAGES["doubled"].format(table="bucket_hour"))
    await filled.connection.execute(DAMAGES["a cut histogram"].format(table="bucket_hour"))
    await filled.connection.execute(DAMAGES["deleted"].format(table="bucket_day"))
    await filled.connection.execute("DELETE FROM ledger WHERE hashtext(document || metric) % 5 = 0")
    await filled.connection.execute(
        "UPDATE documents SET generation = generation - 1 WHERE hashtext(id) % 3 = 0"
    )
    working = True

    async def work() -> None:
        nonlocal working
        # Edits of documents that are there, and new ones.
        for seed in (1, 2, 6, 7):
            again = [
                event.model_copy(
                    update={"id": f"{event.id}.again", "time": event.time + timedelta(minutes=1)}
                )
                for event in history(seed, 60)
            ]
            await _retried(lambda some=again, seed=seed: filled.deliver(some, seed=seed, largest=8))
        working = False

    async def repair() -> int:
        times = 0
        while working:
            await rebuilt(filled)
            times += 1
        return times

    _, times = await asyncio.gather(work(), repair())
    assert times > 1
    await rebuilt(filled)
    assert await bucket_sums(filled, "bucket_hour") == await recomputed(filled, 1)
    assert await bucket_sums(filled, "bucket_day") == await recomputed(filled, 24)
    assert (await rebuilt(filled)).was_right


async def _retried(deliver: Callable[[], Awaitable[None]]) -> None:
    """Deliver as a processor does: what met a change of somebody else is delivered again."""
    from cxloop_scoring.store.writing import ConcurrentChangeError  # noqa: PLC0415  # used here alone

    while True:
        try:
            return await deliver()
        except ConcurrentChangeError:
            continue


def _command(url: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # our own module, no shell
        [sys.executable, "-m", "cxloop_scoring.rebuild", *arguments],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("CXLOOP_")},
            "CXLOOP_DATABASE_URL": url,
            "CXLOOP_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def _answer(process: subprocess.Popen[bytes]) -> tuple[int, Any]:
    out, _ = await asyncio.to_thread(process.communicate)
    return process.returncode, json.loads(out) if out else None


async def test_killed_in_the_middle_and_started_again_it_ends_right(filled: Any, database_url: str) -> None:
    before = await state(filled)
    await filled.connection.execute("TRUNCATE bucket_hour, bucket_day")
    process = _command(database_url, "--json")
    while not await filled.connection.fetchval("SELECT count(*) FROM bucket_hour"):
        assert process.poll() is None
        await asyncio.sleep(0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()
    assert await bucket_sums(filled, "bucket_hour") != before[0]
    # The server notices in its own time that the one that was killed holds the lock no more.
    while (answered := await _answer(_command(database_url, "--json")))[0] == BUSY:
        pass
    assert answered[0] == WRONG
    assert answered[1]["buckets"]
    assert await state(filled) == before
    code, outcome = await _answer(_command(database_url, "--json", "--check"))
    assert (code, outcome["buckets"]) == (RIGHT, 0)


async def test_one_rebuild_at_a_time(filled: Any, database_url: str) -> None:
    async with rebuild_lock(filled.connection):
        with pytest.raises(BusyError):
            await rebuilt(filled)
        assert (await _answer(_command(database_url)))[0] == BUSY
    assert (await rebuilt(filled)).was_right


class Files(NamedTuple):
    metrics_file: str | None
    calendars_file: str | None


SLA = "sla:\n  - first_response: 2h\n    resolution: 12h\n"


async def test_a_new_configuration_is_booked_by_a_rebuild_and_its_targets_are_found_again(
    filled: Any, tmp_path: Path
) -> None:
    (tmp_path / "metrics.yaml").write_text(SLA, encoding="utf-8")
    own = own_files(Files(str(tmp_path / "metrics.yaml"), None))
    rules = await RulesInForce(filled.database, own).at_least(0)
    outcome = await rebuilt(filled)
    assert (outcome.outdated, outcome.was_right) == (240, True)
    assert outcome.ledger_rows > 60
    assert await bucket_sums(filled, "bucket_day") == await recomputed(filled, 24)
    # A worker by the same rules has nothing to add.
    filled.rules = rules
    filled.restart()
    rows = await ledger_rows(filled)
    await filled.deliver(history(1, 60), seed=9, largest=70)
    assert await ledger_rows(filled) == rows
    before = await state(filled)
    # Due times are times of no fact: they are found by what the document keeps of them.
    await filled.connection.execute("DELETE FROM ledger WHERE metric = 18 AND hashtext(document) % 2 = 0")
    assert (await rebuilt(filled)).mended
    assert (await state(filled))[:3] == before[:3]
    assert (await rebuilt(filled)).was_right


def alert(
    case_id: str, version: int, at: datetime, *supersedes: str, trigger: str | None = None
) -> AlertRecord:
    fields: dict[str, Any] = {"status": "open", "change": "opened", "severity": "high", "version": version}
    fields |= {"rule": "low-nps", "route": "vip", "owner": Owner(kind="team", id="care", name="Care")}
    fields |= {"case_id": case_id, "reason": "x", "at": at, "supersedes": supersedes}
    if trigger is not None:
        scale = {"min": 0, "max": 10}
        fields["score"] = AlertScore(metric="nps", value=1, scale=scale, document=trigger)  # type: ignore[arg-type]
    return AlertRecord(**fields, id=f"{case_id}.{version}", source="alerting", time=at)


def response(number: int, survey: str, most: int) -> SurveyResponded:
    return SurveyResponded(
        id=f"answer-{number}",
        source="sm",
        time=END,
        response_id=str(number),
        metric="nps",
        score=1,
        scale={"min": 0, "max": most},  # type: ignore[arg-type]
        dimensions={"survey": survey},
    )


@pytest.fixture
async def linked(worker: Any) -> Any:
    """Cases with scores, one of which stands for another since later; surveys by one scale and by two."""
    answers = [response(1, "spring", 10), response(2, "spring", 10), response(3, "autumn", 10)]
    first, later = worker.now, worker.now + timedelta(hours=3)
    cases = [alert("a", 1, END, trigger="response:sm:1"), alert("b", 1, END, trigger="response:sm:2")]
    await worker.deliver([*answers, *cases, response(4, "autumn", 11)])
    worker.now = later
    # Told again, which changes nothing of when it was first told.
    await worker.deliver([alert("a", 2, first + timedelta(hours=1), trigger="response:sm:1")])
    await worker.deliver([alert("a", 3, later, "b", trigger="response:sm:3")])
    return worker


async def derived(worker: Any) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    links, scales = [
        [tuple(row) for row in await worker.connection.fetch(f"SELECT * FROM {table}")]
        for table in ("case_links", "scales")
    ]
    return sorted(links, key=repr), sorted(scales, key=repr)


async def test_links_of_cases_and_scales_of_surveys_are_derived_again(linked: Any) -> None:
    before, ledger = await derived(linked), await linked.net_ledger()
    assert tuple(map(len, before)) == (4, 3)
    assert (await rebuilt(linked)).was_right
    await linked.connection.execute("TRUNCATE case_links, scales")
    looked = await rebuilt(linked, write=False)
    assert (looked.links, looked.scales, looked.was_right) == (4, 3, False)
    assert await derived(linked) == ([], [])
    outcome = await rebuilt(linked)
    assert (outcome.links, outcome.scales, outcome.mended, outcome.ledger_rows) == (4, 3, 0, 0)
    assert await derived(linked) == before
    assert await linked.net_ledger() == ledger
    assert (await rebuilt(linked)).was_right


async def test_a_link_that_no_record_names_ends_and_is_known_as_of_before(linked: Any) -> None:
    before = await derived(linked)
    stray = (0, "response:sm:9", "case:b", linked.now)
    await linked.connection.execute(
        "INSERT INTO case_links (kind, subject, case_document, recorded_at) VALUES ($1, $2, $3, $4)", *stray
    )
    linked.now += timedelta(hours=1)
    assert (await rebuilt(linked)).links == 1
    assert await derived(linked) == (sorted([*before[0], (*stray, linked.now)], key=repr), before[1])
    assert (await rebuilt(linked)).was_right


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"metrics": "later: 1", "calendars": null, "booking": "00"}', "newer version of the software"),
        ('{"metrics": null, "calendars": null, "booking": "00"}', "books by it otherwise"),
    ],
)
async def test_a_configuration_of_other_software_is_no_wrong_setting(
    worker: Any, database_url: str, content: str, says: str
) -> None:
    await worker.connection.execute("INSERT INTO configurations (digest, content) VALUES ('x', $1)", content)
    process = _command(database_url, "--check", "--json")
    out, err = await asyncio.to_thread(process.communicate)
    assert (process.returncode, out) == (SUPERSEDED, b"")
    assert says in err.decode()
    assert "nothing was changed" in err.decode()
