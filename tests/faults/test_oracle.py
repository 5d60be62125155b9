"""The oracle is believed, so its own answers are worked out by hand here."""

import json
from typing import Any

import pytest

from tests.faults import oracle
from tests.faults.oracle import Observed
from tests.faults.wire import LogRecord

TICKET, RESPONSE = "ticket:desk:1", "response:desk:1"
HOUR = 3_600_000
MIDNIGHT = 1_772_409_600_000_000  # 2026-03-02T00:00:00Z in microseconds


def event(kind: str, time: str, event_id: str, **data: Any) -> LogRecord:
    headers = {
        "ce_id": event_id,
        "ce_type": f"cxloop.{kind}",
        "ce_source": "desk",
        "ce_time": f"2026-03-{time}Z",
    }
    return LogRecord(
        "t", 0, 0, b"", json.dumps(data).encode(), {name: value.encode() for name, value in headers.items()}
    )


def created(
    time: str = "02T08:00:00", *, ticket: str = "1", by: str = "customer", team: str = "a"
) -> LogRecord:
    return event(
        "ticket.created", time, f"c{ticket}", ticket_id=ticket, created_by=by, channel="email", team=team
    )


def replied(time: str, event_id: str, author: str, *, public: bool = True, ticket: str = "1") -> LogRecord:
    return event("ticket.replied", time, event_id, ticket_id=ticket, author=author, public=public)


def status(time: str, event_id: str, to: str) -> LogRecord:
    return event("ticket.status_changed", time, event_id, ticket_id="1", status=to)


def answered(time: str, event_id: str, metric: str, score: int, scale: tuple[int, int]) -> LogRecord:
    return event(
        "survey.responded",
        time,
        event_id,
        response_id="1",
        metric=metric,
        score=score,
        scale={"min": scale[0], "max": scale[1]},
        dimensions={"team": "a"},
    )


def values(*records: LogRecord) -> dict[int, int]:
    return {found.metric: found.value for found in oracle.expected(records).observations}


def test_a_first_response_runs_from_the_customers_message_to_the_first_public_human_reply() -> None:
    found = oracle.expected(
        [
            created(),
            replied("02T08:10:00", "bot", "bot"),
            replied("02T08:20:00", "note", "agent", public=False),
            replied("02T09:30:00", "reply", "agent"),
        ]
    )
    assert found.observations == {
        Observed(TICKET, oracle.VOLUME, 1, None, MIDNIGHT + 8 * HOUR * 1000, "a"): 1,
        Observed(TICKET, oracle.CONTACT, 1, None, MIDNIGHT + 8 * HOUR * 1000, "a"): 1,
        Observed(TICKET, oracle.FIRST_RESPONSE, 90 * 60_000, None, MIDNIGHT + int(9.5 * HOUR) * 1000, "a"): 1,
    }


def test_an_agents_ticket_has_no_first_response() -> None:
    assert values(created(by="agent"), replied("02T09:00:00", "r", "agent")) == {oracle.VOLUME: 1}


def test_a_reopened_ticket_counts_its_first_and_its_last_solve() -> None:
    assert values(
        created(),
        status("02T10:00:00", "s1", "solved"),
        status("02T11:00:00", "o", "open"),
        status("02T13:00:00", "s2", "solved"),
    ) == {
        oracle.VOLUME: 1,
        oracle.CONTACT: 1,
        oracle.FIRST_RESOLUTION: 2 * HOUR,
        oracle.REOPEN: 1,
        oracle.BACKLOG: -1,  # and +1 at the reopening
        oracle.FULL_RESOLUTION: 5 * HOUR,
    }


def test_later_waits_are_next_responses_and_one_message_may_be_enough() -> None:
    asked = [created(), replied("02T09:00:00", "r1", "agent"), status("02T09:30:00", "s", "solved")]
    assert values(*asked)[oracle.FIRST_CONTACT] == 1
    again = [replied("02T10:00:00", "c2", "customer"), replied("02T12:00:00", "r2", "agent")]
    found = values(*asked, *again)
    assert oracle.FIRST_CONTACT not in found
    assert (found[oracle.FIRST_RESPONSE], found[oracle.NEXT_RESPONSE]) == (HOUR, 2 * HOUR)


def test_another_team_is_a_handoff_and_taking_an_assignment_away_is_none() -> None:
    moved = event("ticket.assigned", "03T08:00:00", "m", ticket_id="1", team="b")
    freed = event("ticket.assigned", "03T09:00:00", "n", ticket_id="1")
    back = event("ticket.assigned", "03T10:00:00", "o", ticket_id="1", team="b")
    assert values(created(), moved, freed, back)[oracle.HANDOFFS] == 1
    assert oracle.HANDOFFS not in values(created(), freed)


def test_an_open_ticket_has_no_full_resolution() -> None:
    found = values(created(), status("02T10:00:00", "s1", "solved"), status("02T11:00:00", "o", "pending"))
    assert oracle.FULL_RESOLUTION not in found
    assert found[oracle.REOPEN] == 1


def test_the_last_assignment_files_the_ticket_under_its_team() -> None:
    moved = event("ticket.assigned", "03T08:00:00", "m", ticket_id="1", team="b")
    freed = event("ticket.assigned", "03T09:00:00", "n", ticket_id="1")
    assert {found.team for found in oracle.expected([moved, created()]).observations} == {"b"}
    assert {found.team for found in oracle.expected([freed, moved, created()]).observations} == {None}


def test_a_merged_ticket_leaves_the_numbers_and_its_messages_go_to_the_survivor() -> None:
    merge = event("ticket.merged", "04T08:00:00", "m", ticket_id="2", into_ticket_id="1")
    found = oracle.expected(
        [
            created("02T08:00:00"),
            created("02T06:00:00", ticket="2"),
            replied("02T10:00:00", "r", "agent"),
            merge,
        ]
    )
    assert {(o.document, o.metric, o.value) for o in found.observations} == {
        (TICKET, oracle.VOLUME, 1),
        (TICKET, oracle.CONTACT, 1),
        (TICKET, oracle.FIRST_RESPONSE, 4 * HOUR),
        ("ticket:desk:2", oracle.MERGED_AWAY, 0),
    }
    assert found.facts == {TICKET: {"c1", "c2", "r", "m"}, "ticket:desk:2": {"c2", "m"}}


def test_a_ticket_whose_creation_is_unknown_or_that_was_deleted_is_in_no_number() -> None:
    assert values(replied("02T09:00:00", "r", "agent")) == {}
    assert values(created(), event("ticket.deleted", "05T08:00:00", "d", ticket_id="1")) == {}


@pytest.mark.parametrize(
    ("metric", "score", "scale", "band", "normalised"),
    [
        ("nps", 6, (0, 10), "low", 6000),
        ("nps", 7, (0, 10), "middle", 7000),
        ("nps", 9, (0, 10), "high", 9000),
        ("csat", 2, (1, 5), "low", 2500),
        ("csat", 3, (1, 5), "middle", 5000),
        ("csat", 4, (1, 5), "high", 7500),
        ("ces", 3, (1, 7), "low", 3333),
        ("ces", 4, (1, 7), "middle", 5000),
        ("ces", 5, (1, 7), "high", 6667),
    ],
)
def test_bands_are_cut_where_the_metric_says(
    metric: str, score: int, scale: tuple[int, int], band: str, normalised: int
) -> None:
    found = oracle.expected([answered("02T08:00:00", "e", metric, score, scale)]).scores[RESPONSE]
    assert (found.band, found.normalised, found.revision) == (band, normalised, (oracle.GENERATION, 1))


def test_the_latest_answer_counts_and_equal_times_are_settled_by_event_id() -> None:
    early = answered("02T08:00:00", "z", "nps", 1, (0, 10))
    late = answered("02T09:00:00", "a", "nps", 9, (0, 10))
    later = answered("02T09:00:00", "b", "nps", 5, (0, 10))
    found = oracle.expected([later, early, late, early]).scores[RESPONSE]
    assert (found.raw, found.event_ids, found.revision) == (5, ("a", "b", "z"), (oracle.GENERATION, 3))


def test_of_two_contents_under_one_id_the_earlier_stands_and_the_other_is_counted() -> None:
    first = answered("02T08:00:00", "e", "nps", 2, (0, 10))
    second = answered("02T09:00:00", "e", "nps", 10, (0, 10))
    for records in ([first, second], [second, first], [first, second, first]):
        found = oracle.expected(records)
        assert found.scores[RESPONSE].raw == 2
        assert found.scores[RESPONSE].revision == (oracle.GENERATION, 2)
        assert sum(found.observations.values()) == 1


def test_totals_add_up_by_metric_day_and_team() -> None:
    records = [created(), replied("02T09:00:00", "r", "agent"), created("03T08:00:00", ticket="2", team="b")]
    day = MIDNIGHT // oracle.DAY_US
    assert oracle.expected(records).totals() == {
        (oracle.VOLUME, day, "a"): (1, 1),
        (oracle.VOLUME, day + 1, "b"): (1, 1),
        (oracle.FIRST_RESPONSE, day, "a"): (1, HOUR),
    }
