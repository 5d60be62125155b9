import asyncio
import json
import sys
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from cxloop_cli.__main__ import app
from cxloop_cli.tail import as_line, as_object, full_name
from cxloop_common.events import SurveyResponded, TouchpointRecorded, encode_event
from cxloop_common.events.canonical import Scale
from cxloop_common.kafka import Message, Record
from cxloop_common.testing.harness import make_topics, started_producer
from cxloop_common.topics import SURVEYS, TOUCHPOINTS, TopicNames

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANSWER = SurveyResponded(
    id="e1",
    source="delighted",
    time=AT,
    identifiers=("email:ana@example.com",),
    response_id="r1",
    metric="nps",
    score=2,
    scale=Scale(min=0, max=10, polarity="higher_is_better"),
    comment="Never again.",
)
VISIT = TouchpointRecorded(
    id="e2", source="shop", time=AT, identifiers=("email:ana@example.com",), touchpoint="purchase"
)


def record(event: SurveyResponded | TouchpointRecorded) -> Record:
    key, value, headers = encode_event(event)
    return Record("cxloop.surveys.v1", 3, 41, key, value, dict(headers), 1_772_366_400_000)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("tickets", "cxloop.tickets.v1"),
        ("alerts", "cxloop.alerts.v1"),
        ("alerts.key-accounts", "cxloop.alerts.key-accounts.v1"),
        ("links", "cxloop.scoring.links.v1"),
        ("scoring.dead-letters", "cxloop.scoring.dead-letters.v1"),
        ("cxloop.scores.v1", "cxloop.scores.v1"),
        ("someone.elses", "someone.elses"),
    ],
)
def test_short_names_stand_for_topics(typed: str, meant: str) -> None:
    assert full_name(typed) == meant


def test_a_line_says_when_what_and_who_without_giving_anybody_away() -> None:
    line = as_line(record(ANSWER))
    assert line.startswith("2026-03-01 12:00:00  survey.responded")
    assert "response:delighted:r1" in line
    assert "nps=2 email:a***@e***.com" in line
    assert "ana@" not in line + as_line(record(VISIT))
    assert "Never again" not in line


def test_an_object_has_the_record_whole() -> None:
    told = json.loads(as_object(record(ANSWER)))
    assert (told["topic"], told["partition"], told["offset"]) == ("cxloop.surveys.v1", 3, 41)
    assert told["written_at"] == "2026-03-01T12:00:00Z"
    assert told["headers"]["ce_id"] == "e1"
    assert told["value"]["comment"] == "Never again."


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, {"value": None}), (b"plain", {"text": "plain"}), (b"\xff\x00", {"base64": "/wA="})],
)
def test_a_value_that_is_no_json_is_still_shown(value: bytes | None, shown: dict[str, str | None]) -> None:
    odd = Record("t", 0, 1, None, value, {}, 0)
    assert shown.items() <= json.loads(as_object(odd)).items()
    assert "bytes" in as_line(odd)


async def started(*arguments: str) -> asyncio.subprocess.Process:
    argv = [sys.executable, "-m", "cxloop_cli", "tail", *arguments]
    return await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)


async def test_tail_shows_what_is_there_and_what_comes(kafka: str, topic_names: TopicNames) -> None:
    await make_topics(kafka, topic_names, [SURVEYS, TOUCHPOINTS])
    producer = await started_producer(kafka)
    try:
        key, value, headers = encode_event(ANSWER)
        message = Message(topic_names.name(SURVEYS), key, value, tuple(headers))
        await producer.send(message)
        where = ["--bootstrap", kafka, "--prefix", topic_names.prefix]
        there = await started("surveys", "--from-start", "-n", "1", *where)
        output, _ = await there.communicate()
        assert there.returncode == 0
        assert output.decode().splitlines() == [as_line(record(ANSWER))]
        following = asyncio.create_task((await started("surveys", "-n", "1", "--json", *where)).communicate())
        # From now on: the same record is sent until the follower, once there, has met one.
        while not following.done():
            await producer.send(message)
            await asyncio.wait([following], timeout=0.05)
        (line,) = following.result()[0].decode().splitlines()
        told = json.loads(line)
        assert told["value"]["score"] == 2
        assert told["offset"] >= 1, "the record from before was not shown"
    finally:
        await producer.stop()


def test_a_topic_that_is_not_there_is_named(kafka: str) -> None:
    ran = CliRunner().invoke(app, ["tail", "no.such", "--bootstrap", kafka])
    assert ran.exit_code == 2
    assert "there is no topic no.such" in ran.output


def test_without_a_broker_it_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = str(tmp_path_factory.mktemp("none"))
    env = {"CXLOOP_KAFKA_BOOTSTRAP": ""}
    nothing = CliRunner().invoke(app, ["tail", "alerts", "--data-dir", folder], env=env)
    assert (nothing.exit_code, "cxloop up" in nothing.output) == (2, True)
    silent = CliRunner().invoke(app, ["tail", "alerts", "--bootstrap", "127.0.0.1:1"])
    assert (silent.exit_code, "127.0.0.1:1" in silent.output) == (3, True)
