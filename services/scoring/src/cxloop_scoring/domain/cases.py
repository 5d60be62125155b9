"""Cases: what became of low scores, folded from the versions that alerting announces."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple
from urllib.parse import quote

from cxloop_scoring.domain.dimensions import Dimensions, filed_under
from cxloop_scoring.domain.facts import CaseChanged, Facts
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.domain.observations import Observation

CASE: Final = "case:"
CLOSED_STATUSES: Final = frozenset({"resolved", "recovered", "not_recovered", "unverified"})
"""Statuses of a case that nobody works on any more."""

_OPENED: Final = int(MetricNumber.CASE_OPENED)
_CLOSED: Final = int(MetricNumber.CASE_CLOSED)
_CONTACTED: Final = int(MetricNumber.CASE_CONTACTED)


class LinkKind(IntEnum):
    """What ties a subject to a case; the numbers are the table's."""

    TRIGGER = 0
    """The subject is a score that raised the case."""
    SUPERSEDED = 1
    """The subject is a case that the case stands for since customers were merged."""


class CaseLink(NamedTuple):
    """A score or a superseded case, and the case it belongs to."""

    kind: LinkKind
    subject: str
    case_document: str


@dataclass(frozen=True, slots=True)
class FoldedCase:
    """A case as its versions tell it; times are microseconds since 1970."""

    opened_at: int
    due_at: int | None
    """The deadline that the highest version with any names: alerting drops it when a case is closed."""
    closed_at: int | None
    """When it was closed last; None while it is open."""
    contacted_at: int | None
    dimensions: Dimensions


def case_document(case_id: str) -> str:
    """Give the document id of a case."""
    return f"{CASE}{quote(case_id, safe='')}"


def dimensions_said(rule: str, route: str, severity: str, owner: tuple[str, str]) -> dict[str, str | None]:
    """Say what a case is filed under: its owner's kind and id give a team or, of a person, an agent."""
    kind, id_ = owner
    said: dict[str, str | None] = {"rule": rule, "route": route, "severity": severity}
    said["team"] = id_ if kind == "team" else None
    said["agent"] = id_ if kind == "person" else None
    return said


def fold_case(facts: Facts) -> FoldedCase | None:
    """Fold a case: its highest version is the case now; None where there is none.

    Versions order the records. Two contents of one version are settled by time, then event id.
    """
    versions = _versions(facts)
    if not versions:
        return None
    now = versions[-1]
    closed_at = None
    for version in reversed(versions):
        if not version.closed:
            break
        closed_at = version.at
    return FoldedCase(
        opened_at=versions[0].at,
        due_at=next((v.due_at for v in reversed(versions) if v.due_at is not None), None),
        closed_at=closed_at,
        contacted_at=min((version.at for version in versions if version.contacted), default=None),
        # A case comes of a rule, not of a source.
        dimensions=filed_under("", now.said)._replace(source=None),
    )


def case_observations(case: FoldedCase) -> list[Observation]:
    """Give opening, closing and contact of a case, all at its opening.

    Their values are milliseconds from the opening to the deadline (0 where there is none), the closing and
    the contact. A clock that runs backwards gives 0, never a negative time.
    """

    def since_opening(at: int | None) -> int:
        return 0 if at is None else max(0, at - case.opened_at) // 1000

    times = {_OPENED: case.opened_at if case.due_at is None else case.due_at}
    if case.closed_at is not None:
        times[_CLOSED] = case.closed_at
    if case.contacted_at is not None:
        times[_CONTACTED] = case.contacted_at
    return [
        Observation(metric, since_opening(at), None, case.opened_at, None, case.dimensions)
        for metric, at in times.items()
    ]


def case_links(document: str, facts: Mapping[str, object]) -> list[CaseLink]:
    """Give the scores and superseded cases that any version of a case has named, sorted."""
    links: set[CaseLink] = set()
    if document.startswith(CASE):
        for fact in facts.values():
            if isinstance(fact, CaseChanged):
                links.update(CaseLink(LinkKind.TRIGGER, subject, document) for subject in fact.triggers)
                links.update(
                    CaseLink(LinkKind.SUPERSEDED, subject, document)
                    for subject in fact.superseded
                    if subject != document
                )
    return sorted(links)


def _versions(facts: Facts) -> list[CaseChanged]:
    found = sorted(
        (fact.version, fact.at, key, fact) for key, fact in facts.items() if isinstance(fact, CaseChanged)
    )
    return [fact for _, _, _, fact in found]
