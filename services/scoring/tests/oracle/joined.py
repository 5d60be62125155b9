"""Metrics in which documents meet: the same customer, the same survey, cases and their scores."""

from collections.abc import Mapping

from . import rows as r
from .asked import Asked
from .customers import Case
from .intervals import lift_interval
from .known import Known
from .rows import DAY, Row
from .values import Value, percent, share_of

WEEK = 7 * DAY
ANSWER_TIME = 90 * DAY
YEAR = 365 * DAY


def first_contact_resolution(known: Known, asked: Asked) -> Value:
    """Solved with one contact, never opened again, and nobody came back about it within a week."""
    solved = asked.choose(known, r.FIRST_RESOLUTION)
    contacts = known.of_metrics(r.CONTACT)
    hits = sum(
        not any(
            _same_matter(known, candidate, contact) and candidate.at < contact.at <= candidate.at + WEEK
            for contact in contacts
        )
        for candidate in asked.choose(known, r.FIRST_CONTACT)
    )
    n = len(solved)
    provisional = sum(row.at > asked.now - WEEK for row in solved)
    return share_of(hits, n, {"provisional": provisional})


def repeat_contact_rate(known: Known, asked: Asked) -> Value:
    """Contacts whose customer had come with another ticket of the same type within a week before."""
    all_ = known.of_metrics(r.CONTACT)
    chosen = asked.choose(known, r.CONTACT)
    judged = [row for row in chosen if known.customer(row) and row.dimension("contact_type")]
    hits = sum(
        any(
            _same_matter(known, row, other)
            and row.at - WEEK <= other.at
            and (other.at, other.document) < (row.at, row.document)
            for other in all_
        )
        for row in judged
    )
    n = len(judged)
    return share_of(hits, n, {"unjudged": len(chosen) - n})


def _same_matter(known: Known, one: Row, other: Row) -> bool:
    customer, kind = known.customer(one), one.dimension("contact_type")
    return (
        one.document != other.document
        and customer is not None
        and kind is not None
        and (customer, kind) == (known.customer(other), other.dimension("contact_type"))
    )


def response_rate(known: Known, asked: Asked) -> Value:
    """Sends that were answered; where a send names no response, by its customer's answer to its survey."""
    chosen = asked.choose(known, r.RESPONSE_RATE, r.SEND_UNLINKED)
    answers = known.of_metrics(*r.SCORES)
    hits = sum(
        bool(row.value)
        if row.metric == r.RESPONSE_RATE
        else any(_answers(known, row, answer) for answer in answers)
        for row in chosen
    )
    return share_of(hits, len(chosen))


def _answers(known: Known, send: Row, answer: Row) -> bool:
    customer = known.customer(send)
    return (
        customer is not None
        and customer == known.customer(answer)
        and all(
            send.dimension(name) is not None and send.dimension(name) == answer.dimension(name)
            for name in ("survey", "source")
        )
        and send.at <= answer.at < send.at + ANSWER_TIME
    )


def retention(known: Known, asked: Asked) -> Value:
    """Give the share of the cohort that has not left."""
    n, left = _cohort(known, asked)
    return share_of(n - left, n)


def churn(known: Known, asked: Asked) -> Value:
    """Give the share of the same cohort that has left."""
    n, left = _cohort(known, asked)
    return share_of(left, n)


def _cohort(known: Known, asked: Asked) -> tuple[int, int]:
    """Count the customers who were active just before the window, and those of them who had left at its end."""
    changes: dict[str, list[Row]] = {}
    for row in known.of_metrics(r.LIFECYCLE):
        walked = changes.setdefault(known.customer(row) or "", [])
        if not walked or walked[-1].value != row.value:
            walked.append(row)
    n = left = 0
    for walked in changes.values():
        before = [row for row in walked if row.at < asked.since]
        # A customer is filed where the change that made them active is filed.
        if before and before[-1].value and asked.filtered(before[-1]):
            n += 1
            left += not [row for row in walked if row.at < asked.until][-1].value
    return n, left


def closed_loop_rate(known: Known, asked: Asked) -> Value:
    """Cases opened in the window that are closed; whether low scores got one; whether in time."""
    opened = [case for case in known.cases if asked.within(case.opened_at) and _filtered(asked, case)]
    closed = [case for case in opened if case.closed_at is not None]
    low = [row for row in asked.choose(known, *r.SCORES) if row.band == r.LOW]
    triggers = {score for case in known.cases for score in case.triggers}
    due = [
        case
        for case in opened
        if case.due_at is not None and (case.closed_at is not None or case.due_at <= asked.now)
    ]
    on_time = [case for case in due if (case.closed_at or asked.now) <= (case.due_at or 0)]
    on_time = [case for case in on_time if case.closed_at is not None]
    n = len(opened)
    extra = {
        "coverage": percent(sum(row.document in triggers for row in low), len(low)),
        "on_time": percent(len(on_time), len(due)),
    }
    return share_of(len(closed), n, extra)


def recovery_rate(known: Known, asked: Asked) -> Value:
    """Closed cases whose customer's next score of the metric is above the low band."""
    closed = [
        case
        for case in known.cases
        if case.closed_at is not None and asked.within(case.closed_at) and _filtered(asked, case)
    ]
    nexts = [next_ for case in closed if (next_ := _next_of_case(known, case)) is not None]
    hits, n = sum(row.band != r.LOW for row in nexts), len(nexts)
    extra = {"of_all": percent(hits, len(closed))}
    return share_of(hits, n, extra)


def _next_of_case(known: Known, case: Case) -> Row | None:
    assert case.closed_at is not None
    found = [
        next_
        for trigger in known.of_metrics(*r.SCORES)
        if trigger.document in case.triggers and (next_ := _next(known, trigger, case.closed_at)) is not None
    ]
    return min(found, key=lambda row: (row.at, row.document), default=None)


def _next(known: Known, score: Row, after: int) -> Row | None:
    """Give the first score of the same metric by the same customer after a moment."""
    customer = known.customer(score)
    if customer is None:
        return None
    later = (row for row in known.of_metrics(score.metric) if row.at > after)
    return next((row for row in later if known.customer(row) == customer), None)


def recovery_lift(known: Known, asked: Asked) -> Value:
    """Recovery of low scorers who were contacted before their next score, less that of the others."""
    latest: dict[tuple[str, int], Row] = {}
    for row in asked.choose(known, *r.SCORES):
        customer = known.customer(row)
        if row.band == r.LOW and customer is not None:
            latest[customer, row.metric] = row
    arms: Mapping[bool, list[bool]] = {True: [], False: []}
    for row in latest.values():
        next_ = _next(known, row, row.at)
        if next_ is not None:
            contacted = any(
                case.contacted_at is not None and case.contacted_at <= next_.at
                for case in known.cases
                if row.document in case.triggers
            )
            arms[contacted].append(next_.band != r.LOW)
    sizes = [len(arms[True]), len(arms[False])]
    hits = [sum(arms[True]), sum(arms[False])]
    rates = [percent(hit, size) for hit, size in zip(hits, sizes, strict=True)]
    value = None if rates[0] is None or rates[1] is None else rates[0] - rates[1]
    extra = {
        "contacted_n": sizes[0],
        "contacted_rate": rates[0],
        "uncontacted_n": sizes[1],
        "uncontacted_rate": rates[1],
    }
    interval = lift_interval(hits[0], sizes[0], hits[1], sizes[1])
    return Value(sum(sizes), value, interval, extra)


def revenue_at_risk(known: Known, asked: Asked) -> Value:
    """A year's money of customers who have an open case at the end of the window."""
    open_ = [
        case
        for case in known.cases
        if case.opened_at < asked.until
        and (case.closed_at is None or case.closed_at >= asked.until)
        and _filtered(asked, case)
    ]
    triggers = {score for case in open_ for score in case.triggers}
    customers = {known.customer(row) for row in known.of_metrics(*r.SCORES) if row.document in triggers}
    customers.discard(None)
    money = sum(
        row.value
        for row in known.of_metrics(r.CUSTOMER_VALUE)
        if known.customer(row) in customers
        and asked.until - YEAR <= row.at < asked.until
        and row.dimension("currency") == asked.currency
    )
    return Value(len(customers), money / 100 if customers else None, None)


def _filtered(asked: Asked, case: Case) -> bool:
    return all(item in case.dimensions for item in asked.where)
