"""Documents: what a ticket or a response puts on a timeline, and whose it is."""

from datetime import UTC, datetime, timedelta

import pytest

from cxloop_common.events import (
    CanonicalEventBase,
    Scale,
    SurveyResponded,
    SurveySent,
    TicketAssigned,
    TicketCreated,
    TicketEscalated,
    TicketMerged,
    TicketReplied,
    TicketStatusChanged,
    TicketUpdated,
    TouchpointRecorded,
    Value,
)
from cxloop_journey.domain.documents import (
    Facts,
    is_open,
    linked_ticket,
    owners,
    shown,
    with_fact,
    with_score,
)
from cxloop_journey.domain.timeline import Fact, Kind, Score, document_of, event_key, fact_of

AT = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def fact(kind: Kind, minute: int = 0, **more: object) -> Fact:
    values: dict[str, object] = {
        "at": AT + minute * MINUTE,
        "content": "c",
        "event_id": f"{kind}{minute}",
        "kind": kind,
        "source": "desk",
        "summary": "",
    }
    return Fact(**{**values, **more})  # pyright: ignore[reportArgumentType]  # a builder of test values


def facts(*all_: Fact) -> Facts:
    return {one.event_id.encode(): one for one in all_}


def ticket(id_: str, minute: int, **more: object) -> dict[str, object]:
    return {
        "id": id_,
        "source": "desk",
        "time": AT + minute * MINUTE,
        "ticket_id": "4711",
        "identifiers": (),
        **more,
    }


@pytest.mark.parametrize(
    ("event", "kind", "summary"),
    [
        (
            TicketCreated.model_validate(
                ticket("1", 0, channel="email", created_by="customer", subject="Help me")
            ),
            Kind.TICKET_CREATED,
            "Customer opened ticket 4711 through email",
        ),
        (
            TicketUpdated.model_validate(ticket("2", 0, priority="high", subject="Help me")),
            Kind.TICKET_UPDATED,
            "Changed on ticket 4711: priority, subject",
        ),
        (
            TicketAssigned.model_validate(ticket("3", 0, team="billing", agent="mia")),
            Kind.TICKET_ASSIGNED,
            "Assigned ticket 4711 to team billing and agent mia",
        ),
        (
            TicketAssigned.model_validate(ticket("3", 0)),
            Kind.TICKET_ASSIGNED,
            "Assigned ticket 4711 to nobody",
        ),
        (
            TicketReplied.model_validate(ticket("4", 0, message_id="m", author="agent", public=False)),
            Kind.TICKET_NOTE,
            "Agent made a note on ticket 4711",
        ),
        (
            TicketStatusChanged.model_validate(ticket("5", 0, status="on_hold")),
            Kind.TICKET_ON_HOLD,
            "Set ticket 4711 to on hold",
        ),
        (
            TicketEscalated.model_validate(ticket("6", 0, level="2")),
            Kind.TICKET_ESCALATED,
            "Escalated ticket 4711 to 2",
        ),
        (
            TicketMerged.model_validate(ticket("7", 0, into_ticket_id="1")),
            Kind.TICKET_MERGED,
            "Merged ticket 4711 into ticket 1",
        ),
        (
            TouchpointRecorded(
                id="8",
                source="shop",
                time=AT,
                identifiers=(),
                touchpoint="purchase",
                value=Value(amount=19.9, currency="EUR"),
            ),
            Kind.TOUCHPOINT,
            "purchase, 19.9 EUR",
        ),
        (
            SurveyResponded(
                id="9",
                source="survey",
                time=AT,
                identifiers=(),
                response_id="r",
                metric="nps",
                score=2,
                scale=Scale(min=0, max=10),
                survey_id="q1",
                comment="Never again",
            ),
            Kind.SURVEY_RESPONSE,
            "Answered survey q1 (nps)",
        ),
    ],
)
def test_an_entry_says_what_happened_without_the_customer_s_words(
    event: CanonicalEventBase, kind: Kind, summary: str
) -> None:
    told = fact_of(event, "content", ())
    assert told is not None
    assert (told.kind, told.summary) == (kind, summary)


def test_a_send_without_a_response_stands_for_itself() -> None:
    send = SurveySent(id="1", source="survey", time=AT, identifiers=(), send_id="s", survey_id="q")
    assert document_of(send) is None
    assert document_of(send.model_copy(update={"response_id": "r"})) == "response:survey:r"


def test_the_latest_event_that_names_somebody_owns_the_document() -> None:
    told = facts(
        fact(Kind.TICKET_CREATED, 0, who=(1,)),
        fact(Kind.TICKET_UPDATED, 1, who=(2, 3)),
        fact(Kind.TICKET_REPLIED, 2),
    )
    assert owners(told) == (2, 3)
    assert owners({}) == ()


def test_the_latest_event_that_names_a_ticket_links_the_response() -> None:
    told = facts(fact(Kind.SURVEY_RESPONSE, 0, link="ticket:a:1"), fact(Kind.SURVEY_RESPONSE, 1))
    assert linked_ticket(told) == "ticket:a:1"


def test_a_ticket_is_open_as_its_latest_status_says_until_it_is_merged_or_deleted() -> None:
    opened, closed = fact(Kind.TICKET_CREATED, 0, open=True), fact(Kind.TICKET_SOLVED, 1, open=False)
    again = fact(Kind.TICKET_OPEN, 2, open=True)
    assert is_open(facts(opened))
    assert not is_open(facts(opened, closed))
    assert is_open(facts(opened, closed, again))
    assert not is_open(facts(opened, closed, again, fact(Kind.TICKET_MERGED, 0, open=False)))
    assert not is_open(facts(fact(Kind.TICKET_REPLIED, 0)))


def test_an_edited_response_stands_on_the_timeline_once_and_a_deleted_ticket_not_at_all() -> None:
    sent, first, last = fact(Kind.SURVEY_SENT), fact(Kind.SURVEY_RESPONSE, 1), fact(Kind.SURVEY_RESPONSE, 2)
    assert shown(facts(sent, first, last)) == facts(sent, last)
    gone = fact(Kind.TICKET_DELETED, 0)
    assert shown(facts(fact(Kind.TICKET_CREATED, 1), gone)) == facts(gone)


def test_of_two_contents_under_one_id_the_least_counts_in_either_order() -> None:
    early, late = fact(Kind.TICKET_OPEN, 0, content="z"), fact(Kind.TICKET_SOLVED, 1, content="a")
    least = fact(Kind.TICKET_PENDING, 0, content="b")
    for order in ((early, late, least), (least, late, early), (late, least, early)):
        told: Facts = {}
        for one in order:
            told = with_fact(told, b"same", one)
        assert told == {b"same": least}


def test_the_highest_revision_of_a_score_counts_in_either_order() -> None:
    def score(generation: int, number: int, content: str = "a") -> Score:
        return Score((generation, number), content, AT, "nps", number, 0, 10, "low")

    assert with_score(with_score(None, score(1, 9)), score(2, 1)) == score(2, 1)
    assert with_score(with_score(None, score(2, 1)), score(1, 9)) == score(2, 1)
    assert with_score(with_score(None, score(1, 1, "b")), score(1, 1)) == score(1, 1, "b")


def test_an_event_is_named_by_source_id_and_document() -> None:
    keys = {
        event_key("a", "b", None),
        event_key("ab", "", None),
        event_key("a", "b", "ticket:a:1"),
        event_key("a", "b", "ticket:a:2"),
    }
    assert len(keys) == 4
