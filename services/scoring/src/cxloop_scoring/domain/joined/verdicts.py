"""What single rows add to an answer in which documents meet, and what they met.

The same definitions as those of the answers, told row by row: what the verdicts on all rows of a question add up to
is the answer's n and its numerator. Times are microseconds since 1970.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from cxloop_scoring.domain.joined.contacts import WEEK
from cxloop_scoring.domain.joined.response_rate import ANSWER_TIME
from cxloop_scoring.domain.lifecycle import ACTIVE
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Band
from cxloop_scoring.domain.windows import Span


class Reason(StrEnum):
    """Why a row counts the way it does."""

    SOLVED = "solved"
    ONE_CONTACT = "one_contact"
    CAME_BACK = "came_back"
    REPEATED = "repeated"
    NOT_REPEATED = "not_repeated"
    UNJUDGED = "unjudged"
    """The customer or the contact type is not known."""
    ANSWERED = "answered"
    UNANSWERED = "unanswered"
    STAYED = "stayed"
    LEFT = "left"
    NOT_ACTIVE_AT_START = "not_active_at_start"
    ANOTHER_CHANGE_DECIDES = "another_change_decides"
    OPENED = "opened"
    CLOSED = "closed"
    SUPERSEDED = "superseded"
    RECOVERED = "recovered"
    NOT_RECOVERED = "not_recovered"
    NO_NEXT_SCORE = "no_next_score"
    ANONYMOUS = "anonymous"
    LATER_LOW_SCORE = "later_low_score"
    AT_RISK = "at_risk"
    COUNTED_ALREADY = "counted_already"
    """All customers of the case are counted with cases that were opened before."""
    WORTH = "worth"
    OTHER_CURRENCY = "other_currency"
    LATEST = "latest"


class Role(StrEnum):
    """What a document is to the row that met it."""

    LATER_CONTACT = "later_contact"
    EARLIER_CONTACT = "earlier_contact"
    ANSWER = "answer"
    STATE_AT_START = "state_at_start"
    STATE_AT_END = "state_at_end"
    CASE = "case"
    CASE_CONTACTED = "case_contacted"
    CASE_CLOSED = "case_closed"
    SUPERSEDING_CASE = "superseding_case"
    NEXT_SCORE = "next_score"
    LATER_LOW_SCORE = "later_low_score"
    REPLACED_SCORE = "replaced_score"


class Arm(StrEnum):
    """Whose recovery is compared."""

    CONTACTED = "contacted"
    UNCONTACTED = "uncontacted"


class MetRow(NamedTuple):
    """A row in force, as far as it can meet others; numbers as in the ledger."""

    at: int
    document: str
    metric: int
    value: int
    band: int | None
    owner: int | None
    """Journey's customer, or the identifier where journey knows none."""
    matter: int | None
    """Value id of the contact type."""
    survey: int | None = None
    source: int | None = None


@dataclass(frozen=True, slots=True)
class Met:
    """A document that decided, and when."""

    role: Role
    document: str
    at: int
    metric: int | None = None
    value: int | None = None
    band: int | None = None

    @classmethod
    def row(cls, role: Role, row: MetRow) -> "Met":
        """Name a row."""
        return cls(role, row.document, row.at, row.metric, row.value, row.band)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one row adds to n and to the numerator (a count, or hundredths of an amount), and why."""

    n: int
    hits: int
    reason: Reason
    by: tuple[Met, ...] = ()
    arm: Arm | None = None


def in_order(rows: Iterable[MetRow]) -> list[MetRow]:
    """Sort rows by time, then document."""
    return sorted(rows, key=lambda row: row[:3])


Matter = tuple[int, int]
"""Customer and contact type."""


def by_matter(rows: Sequence[MetRow]) -> dict[Matter, list[MetRow]]:
    """Sort contacts by customer and contact type, each list in order of time, then document."""
    found: dict[Matter, list[MetRow]] = {}
    for row in in_order(rows):
        if row.owner is not None and row.matter is not None:
            found.setdefault((row.owner, row.matter), []).append(row)
    return found


def _contacts(row: MetRow, contacts: Mapping[Matter, Sequence[MetRow]]) -> Sequence[MetRow] | None:
    if row.owner is None or row.matter is None:
        return None
    return contacts.get((row.owner, row.matter), ())


def first_contact(row: MetRow, contacts: Mapping[Matter, Sequence[MetRow]]) -> Verdict:
    """Judge a first solve (n) or a candidate: a ticket of one contact that was not reopened."""
    if row.metric == MetricNumber.FIRST_RESOLUTION_TIME:
        return Verdict(1, 0, Reason.SOLVED)
    same = _contacts(row, contacts) or ()
    for later in same[bisect_right(same, row.at, key=lambda one: one.at) :]:
        if later.at > row.at + WEEK:
            break
        if later.document != row.document:
            return Verdict(0, 0, Reason.CAME_BACK, (Met.row(Role.LATER_CONTACT, later),))
    return Verdict(0, 1, Reason.ONE_CONTACT)


def repeated_contact(row: MetRow, contacts: Mapping[Matter, Sequence[MetRow]]) -> Verdict:
    """Judge a contact by the one before it about the same matter."""
    same = _contacts(row, contacts)
    if same is None:
        return Verdict(0, 0, Reason.UNJUDGED)
    place = bisect_left(same, row[:2], key=lambda one: one[:2])
    if place and same[place - 1].at >= row.at - WEEK:
        return Verdict(1, 1, Reason.REPEATED, (Met.row(Role.EARLIER_CONTACT, same[place - 1]),))
    return Verdict(1, 0, Reason.NOT_REPEATED)


def answered_send(row: MetRow, answers: Sequence[MetRow]) -> Verdict:
    """Judge a survey that was sent; `answers` are its customer's, in order of time."""
    if row.metric == MetricNumber.RESPONSE_RATE or row.value:
        return Verdict(1, row.value, Reason.ANSWERED if row.value else Reason.UNANSWERED)
    if row.owner is not None and row.survey is not None and row.source is not None:
        for answer in answers[bisect_left(answers, row.at, key=lambda one: one.at) :]:
            if answer.at >= row.at + ANSWER_TIME:
                break
            if (answer.survey, answer.source) == (row.survey, row.source):
                return Verdict(1, 1, Reason.ANSWERED, (Met.row(Role.ANSWER, answer),))
    return Verdict(1, 0, Reason.UNANSWERED)


@dataclass(frozen=True, slots=True)
class Stay:
    """The changes of state that hold just before a window's begin and just before its end."""

    start: MetRow | None
    end: MetRow | None


def stay(walked: Sequence[MetRow], span: Span) -> Stay:
    """Walk what a customer's identifiers told, in order of time, then document; only changes count."""
    start: MetRow | None = None
    last: MetRow | None = None
    for row in walked:
        if row.at >= span.until:
            break
        if last is None or row.value != last.value:
            last = row
            if row.at < span.since:
                start = row
    return Stay(start, last)


def kept_customer(row: MetRow, found: Stay, *, leaving: bool) -> Verdict:
    """Judge a change of state; the one that holds at the start stands for the customer.

    leaving: whether hits are those who left.
    """
    start, end = found.start, found.end
    if start is None or end is None or start.value != ACTIVE:
        by = () if start is None else (Met.row(Role.STATE_AT_START, start),)
        return Verdict(0, 0, Reason.NOT_ACTIVE_AT_START, by)
    by = (Met.row(Role.STATE_AT_START, start), Met.row(Role.STATE_AT_END, end))
    if (row.document, row.at) != (start.document, start.at):
        return Verdict(0, 0, Reason.ANOTHER_CHANGE_DECIDES, by)
    left = end.value != ACTIVE
    return Verdict(1, int(left == leaving), Reason.LEFT if left else Reason.STAYED, by)


def next_score(scores: Sequence[MetRow], metric: int, after: int) -> MetRow | None:
    """Give the first of a customer's scores of a metric after a moment; they are in order of time, then document."""
    later = scores[bisect_right(scores, after, key=lambda one: one.at) :]
    return next((score for score in later if score.metric == metric), None)


def recovered_case(row: MetRow, closed_at: int, following: MetRow | None) -> Verdict:
    """Judge a closed case by the first score that its customer gave afterwards."""
    closing = Met(Role.CASE_CLOSED, row.document, closed_at)
    if following is None:
        return Verdict(0, 0, Reason.NO_NEXT_SCORE, (closing,))
    above = _above(following)
    by = (closing, Met.row(Role.NEXT_SCORE, following))
    return Verdict(1, int(above), Reason.RECOVERED if above else Reason.NOT_RECOVERED, by)


def lifted_score(row: MetRow, latest: MetRow, following: MetRow | None, contact: Met | None) -> Verdict:
    """Judge a low score: the customer's latest of the metric counts, where a next score tells what came of it.

    contact: when its case was first contacted; after the next score it comes too late.
    """
    if (latest.at, latest.document) != (row.at, row.document):
        return Verdict(0, 0, Reason.LATER_LOW_SCORE, (Met.row(Role.LATER_LOW_SCORE, latest),))
    by = () if contact is None else (contact,)
    if following is None:
        return Verdict(0, 0, Reason.NO_NEXT_SCORE, by)
    in_time = contact is not None and contact.at <= following.at
    above = _above(following)
    return Verdict(
        1,
        int(above),
        Reason.RECOVERED if above else Reason.NOT_RECOVERED,
        (*by, Met.row(Role.NEXT_SCORE, following)),
        Arm.CONTACTED if in_time else Arm.UNCONTACTED,
    )


def latest_score(row: MetRow, before: MetRow | None) -> Verdict:
    """Tell of a customer's latest response what it adds to NPS, and which one it replaced."""
    by = () if before is None else (Met.row(Role.REPLACED_SCORE, before),)
    return Verdict(1, _PROMOTION.get(row.band, 0), Reason.LATEST, by)


_PROMOTION: Final[Mapping[int | None, int]] = {Band.LOW: -1, Band.HIGH: 1}


def _above(score: MetRow) -> bool:
    return score.band is not None and score.band > Band.LOW
