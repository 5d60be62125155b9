"""Events of tickets, surveys and touchpoints, drawn from small pools so that everything meets."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from cxloop_common.events import (
    CanonicalEventBase,
    SurveyResponded,
    SurveySent,
    TicketAssigned,
    TicketCreated,
    TicketDeleted,
    TicketEscalated,
    TicketMerged,
    TicketReplied,
    TicketStatusChanged,
    TicketUpdated,
    TouchpointRecorded,
)

Draw = Callable[[st.SearchStrategy[Any]], Any]

START = datetime(2026, 3, 24, 9, 0, tzinfo=UTC)
"""A Tuesday; the clocks of Europe go forward on the Sunday after."""
NOW = datetime(2026, 4, 28, 10, 0, tzinfo=UTC)
"""When the histories are asked about; some of what targets promise is still due then."""

_MINUTES = (0, 0, 1, 17, 30, 60, 600, 1440, 4 * 1440, 7 * 1440, 7 * 1440 + 17, 9 * 1440, 20 * 1440, 34 * 1440)
_BEYOND = (timedelta(0),) * 4 + (timedelta(microseconds=400), timedelta(microseconds=1_500_900))
_SCALES: Sequence[tuple[str, int, int, str, tuple[float, ...] | None]] = (
    *[("nps", 0, 10, "higher_is_better", None)] * 3,
    *[("csat", 1, 5, "higher_is_better", None)] * 2,
    ("csat", 1, 5, "lower_is_better", None),
    ("nps", 0, 10, "lower_is_better", None),
    ("csat", 1, 4, "higher_is_better", None),
    ("csat", 1, 3, "higher_is_better", None),
    ("csat", 1, 2, "higher_is_better", None),
    ("csat", 1, 5, "higher_is_better", (3.0, 4.0, 5.0)),
    *[("ces", 1, 7, "higher_is_better", None)] * 2,
    ("ces", 1, 7, "lower_is_better", None),
    ("ces", 1, 5, "lower_is_better", None),
    ("ces", 1, 5, "higher_is_better", None),
    ("ces", 1, 9, "higher_is_better", None),
    ("nps", 1, 5, "higher_is_better", None),
    ("other", 0, 100, "higher_is_better", None),
)
COMMENTS = (
    None,
    None,
    "Wonderful, great and friendly help, thank you",
    "Terrible, useless, awful service",
    "Table",
)
_TOUCHPOINTS = ("purchase.web", "Renewal", "usage", "visit", "Cancellation", "churned", "SIGNUP")
TICKETS = ("1", "1", "2", "a/b")
RESPONSES = ("r1", "r2", "r3", "r 4")


def _time(drawn: tuple[int, timedelta]) -> datetime:
    minutes, beyond = drawn
    return START + timedelta(minutes=minutes) + beyond


_times = st.tuples(st.sampled_from(_MINUTES), st.sampled_from(_BEYOND)).map(_time)
WHOLE_TIMES = st.sampled_from(_MINUTES).map(lambda minutes: START + timedelta(minutes=minutes, seconds=7))
_teams = st.sampled_from((None, "billing", "returns", ""))
_agents = st.sampled_from((None, "mia", "noa"))
_dimensions = st.sampled_from(
    ({}, {}, {"segment": "smb"}, {"plan": "gold", "segment": "enterprise"}, {"segment": ""})
)


class Names:
    """The pools of one history."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sources = (f"zd-{name}", f"ic-{name}")
        mail, user = f"email:ana@{name}.example.com", f"user:{name}"
        other, requester = f"email:bo@{name}.example.com", f"zd-{name}.requester:7"
        self.identifiers = (mail, user, other, requester)
        self.people: Sequence[tuple[str, ...]] = ((), (mail,), (mail, user), (other,), (requester, other))
        self.customers = (f"cus_{name}1", f"cus_{name}2")


def _base(draw: Draw, names: Names, source: str | None = None) -> dict[str, Any]:
    return {
        "id": "-",
        "source": source or draw(st.sampled_from(names.sources[:1] * 7 + names.sources[1:])),
        "time": draw(_times),
        "identifiers": draw(st.sampled_from(names.people)),
        "dimensions": {**draw(_dimensions), "history": names.name},
    }


@st.composite
def creations(draw: Draw, names: Names, source: str, ticket: str) -> TicketCreated:
    """Draw the creation of a ticket."""
    return TicketCreated(
        **_base(draw, names, source),
        ticket_id=ticket,
        channel=draw(st.sampled_from(("email", "chat"))),
        created_by=draw(st.sampled_from(("customer", "customer", "customer", "agent", "bot"))),
        team=draw(_teams),
        agent=draw(_agents),
        contact_type=draw(st.sampled_from(("refund", "refund", None))),
        priority=draw(st.sampled_from((None, "high", "low"))),
        tags=draw(st.sampled_from((None, ("b", "a"), ("a",)))),
        worked_s=draw(st.sampled_from((None, None, None, 12.5))),
        subject=None,
    )


@st.composite
def ticket_events(draw: Draw, names: Names, ticket: str) -> CanonicalEventBase:
    """Draw anything that can happen to a ticket."""
    kind = draw(st.sampled_from(_TICKET_KINDS))
    base = _base(draw, names)
    if kind == "created":
        return draw(creations(names, base["source"], ticket))
    return _TICKET_EVENTS[kind](draw, {**base, "ticket_id": ticket})


def _replied(draw: Draw, base: dict[str, Any]) -> TicketReplied:
    author = draw(st.sampled_from(("customer",) * 4 + ("agent",) * 4 + ("bot",)))
    public = draw(st.sampled_from((True,) * 6 + (False,)))
    return TicketReplied(**base, message_id="m", author=author, public=public, worked_s=draw(_WORKED))


def _status(draw: Draw, base: dict[str, Any]) -> TicketStatusChanged:
    return TicketStatusChanged(**base, status=draw(st.sampled_from(_STATUSES)))


def _assigned(draw: Draw, base: dict[str, Any]) -> TicketAssigned:
    return TicketAssigned(**base, team=draw(_teams), agent=draw(_agents))


def _updated(draw: Draw, base: dict[str, Any]) -> TicketUpdated:
    return TicketUpdated(
        **base,
        channel=draw(st.sampled_from((None, "web"))),
        team=draw(_teams),
        contact_type=draw(st.sampled_from((None, "refund", "login", ""))),
        priority=draw(st.sampled_from((None, None, "urgent", ""))),
        tags=draw(st.sampled_from((None, (), ("c",)))),
        worked_s=draw(_WORKED),
        subject=None,
    )


def _escalated(_: Draw, base: dict[str, Any]) -> TicketEscalated:
    return TicketEscalated(**base, level="2")


def _merged(draw: Draw, base: dict[str, Any]) -> TicketMerged:
    return TicketMerged(**_bare(base), into_ticket_id=draw(st.sampled_from(TICKETS)))


def _deleted(_: Draw, base: dict[str, Any]) -> TicketDeleted:
    return TicketDeleted(**_bare(base))


def _bare(base: dict[str, Any]) -> dict[str, Any]:
    """Leave only the history: these two say where a ticket went, and nothing about it."""
    return {**base, "dimensions": {"history": base["dimensions"]["history"]}}


_TICKET_EVENTS: Mapping[str, Callable[[Draw, dict[str, Any]], CanonicalEventBase]] = {
    "replied": _replied,
    "status": _status,
    "assigned": _assigned,
    "updated": _updated,
    "escalated": _escalated,
    "merged": _merged,
    "deleted": _deleted,
}
_WORKED = st.sampled_from((None, None, 0.0, 60.0, 0.25))
_STATUSES = ("solved", "solved", "open", "pending", "closed", "new", "on_hold")
_TICKET_KINDS = (
    *("replied",) * 12,
    *("status",) * 6,
    *("assigned", "updated") * 3,
    *("created", "created", "escalated", "escalated", "merged", "deleted"),
)


@st.composite
def surveys(draw: Draw, names: Names) -> CanonicalEventBase:
    """Draw an answer, or a survey that was sent."""
    base = _base(draw, names)
    survey = draw(st.sampled_from(("spring", "spring", "after-contact")))
    response = draw(st.sampled_from(RESPONSES))
    if draw(st.integers(0, 3)) == 0:
        linked = draw(st.booleans())
        send = draw(st.sampled_from(("s1", "s2", "s3")))
        return SurveySent(**base, send_id=send, survey_id=survey, response_id=response if linked else None)
    metric, least, most, polarity, good = draw(st.sampled_from(_SCALES))
    return SurveyResponded(
        **base,
        response_id=response,
        metric=metric,  # type: ignore[arg-type]
        score=draw(st.integers(least, most)),
        scale={"min": least, "max": most, "polarity": polarity, "good": good},  # type: ignore[arg-type]
        survey_id=draw(st.sampled_from((survey, survey, None))),
        comment=draw(st.sampled_from(COMMENTS)),
        touchpoint=draw(st.sampled_from((None, "checkout"))),
        channel=draw(st.sampled_from((None, "email"))),
        ticket_id=draw(st.sampled_from((None, "1"))),
    )


@st.composite
def touchpoints(draw: Draw, names: Names) -> TouchpointRecorded:
    """Draw another contact, with or without money."""
    amount = draw(st.sampled_from((None, None, 100.0, 0.125, 0.375, -20.5)))
    value: Any = (
        None
        if amount is None
        else {"amount": amount, "currency": draw(st.sampled_from(("EUR", "EUR", "USD")))}
    )
    return TouchpointRecorded(
        **_base(draw, names),
        touchpoint=draw(st.sampled_from(_TOUCHPOINTS)),
        stage=draw(st.sampled_from((None, "use"))),
        channel=draw(st.sampled_from((None, "web"))),
        value=value,
    )
