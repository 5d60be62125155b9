"""Logs, metrics and trace context."""

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from cxloop_common import telemetry
from cxloop_common.telemetry import (
    Telemetry,
    child_traceparent,
    configure_logging,
    get_logger,
    new_traceparent,
    parse_traceparent,
)

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def logs() -> Iterator[StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = StringIO()
    configure_logging("scoring", "info", "json", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(logs: StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in logs.getvalue().splitlines()]


def test_a_log_line_is_one_json_object_with_service_level_and_time(logs: StringIO) -> None:
    get_logger("x").info("batch_done", records=3)
    (line,) = lines(logs)
    assert line.pop("at")
    assert line == {"event": "batch_done", "level": "info", "logger": "x", "records": 3, "service": "scoring"}


def test_the_libraries_logs_take_the_same_way(logs: StringIO) -> None:
    logging.getLogger("aiokafka").warning("lost %s", "partition-3")
    logging.getLogger("aiokafka").debug("not at this level")
    (line,) = lines(logs)
    assert (line["event"], line["level"], line["service"]) == ("lost partition-3", "warning", "scoring")


def test_a_line_carries_the_request_and_trace_it_was_written_under(logs: StringIO) -> None:
    tokens = telemetry.request_id.set("req-12345"), telemetry.traceparent.set(TRACE)
    get_logger().info("x")
    telemetry.request_id.reset(tokens[0])
    telemetry.traceparent.reset(tokens[1])
    get_logger().info("y")
    first, second = lines(logs)
    assert (first["request_id"], first["trace_id"]) == ("req-12345", TRACE[3:35])
    assert "request_id" not in second


def read_comment() -> None:
    try:
        int("Ana said: never again")
    except ValueError as error:
        raise KeyError("her secret") from error


@pytest.mark.parametrize("name", ["ours", "aiokafka"])
def test_an_exception_is_logged_by_type_and_place_without_its_message(logs: StringIO, name: str) -> None:
    log = get_logger("x") if name == "ours" else logging.getLogger(name)
    try:
        read_comment()
    except KeyError:
        log.exception("failed")
    output = logs.getvalue()
    (line,) = [json.loads(text) for text in output.splitlines()]
    assert line["error"] == "KeyError"
    assert line["caused_by"] == ["ValueError"]
    assert "test_telemetry.py" in line["where"][0]
    assert "never again" not in output
    assert "secret" not in output


def test_an_error_of_the_operating_system_keeps_its_words(logs: StringIO) -> None:
    get_logger().error("down", exc_info=ConnectionRefusedError(111, "Connection refused"))
    assert lines(logs)[0]["error"] == "ConnectionRefusedError: Connection refused"


@pytest.mark.parametrize(
    ("fields", "hidden"),
    [
        ({"token": "t0p"}, "t0p"),
        ({"Authorization": "t0p"}, "t0p"),
        ({"identifiers": ["email:ana@example.com"]}, "ana"),
        ({"note": "wrote to ana@example.com"}, "ana"),
        ({"note": "postgresql://user:t0p@host/db"}, "t0p"),
        ({"note": "got Bearer t0p-token"}, "t0p"),
    ],
)
def test_secrets_and_addresses_do_not_reach_a_log(
    logs: StringIO, fields: dict[str, object], hidden: str
) -> None:
    get_logger().info("x", **fields)
    output = logs.getvalue()
    assert hidden not in output
    assert "[withheld]" in output


def test_a_lost_task_is_reported_without_its_exceptions_text(logs: StringIO) -> None:
    logging.getLogger("asyncio").error(
        "Task exception was never retrieved\nfuture: <Task exception=ValueError('Ana')>"
    )
    assert lines(logs)[0]["event"] == "Task exception was never retrieved"


def test_the_console_format_is_for_eyes(logs: StringIO) -> None:
    configure_logging("scoring", "info", "console", stream=logs)
    get_logger().info("batch_done", records=3)
    assert "batch_done" in logs.getvalue()


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (TRACE, TRACE),
        (f" {TRACE} ", TRACE),
        ("cc" + TRACE[2:] + "-what-comes-later", TRACE),
        (None, None),
        ("", None),
        ("ff" + TRACE[2:], None),
        (TRACE + "-more", None),
        (TRACE.upper(), None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", None),
        (TRACE * 9, None),
    ],
)
def test_a_traceparent_is_read_as_w3c_asks(text: str | None, parsed: str | None) -> None:
    assert parse_traceparent(text) == parsed


@given(st.text())
def test_no_text_breaks_the_trace(text: str) -> None:
    assert parse_traceparent(child_traceparent(text)) is not None


def test_a_child_keeps_the_trace_and_its_flags_and_has_a_span_of_its_own() -> None:
    child = child_traceparent(TRACE)
    assert child[:36] == TRACE[:36]
    assert child[36:52] != TRACE[36:52]
    assert child[52:] == TRACE[52:]
    assert parse_traceparent(child) == child
    assert parse_traceparent(new_traceparent()) is not None


def test_two_services_in_one_process_do_not_share_metrics() -> None:
    first, second = Telemetry("scoring", "1.0"), Telemetry("journey")
    first.count("fold", "applied", 3)
    first.dead_letters.labels("cxloop.tickets.v1", "bad_json").inc()
    first.consumer_lag.labels("cxloop.tickets.v1", 0).set(7)
    first.outbox_depth.set(2)
    text = first.render().decode()
    assert 'cxloop_outcomes_total{reason="applied",stage="fold"} 3.0' in text
    assert 'cxloop_dead_letters_total{reason="bad_json",topic="cxloop.tickets.v1"} 1.0' in text
    assert 'cxloop_consumer_lag_records{partition="0",topic="cxloop.tickets.v1"} 7.0' in text
    assert 'cxloop_service_info{service="scoring",version="1.0"} 1.0' in text
    assert "applied" not in second.render().decode()
