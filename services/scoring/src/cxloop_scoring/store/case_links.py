"""Which scores raised a case, and which cases it stands for: from when a case first says so until none does."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from cxloop_scoring.domain.cases import CASE, CaseLink, LinkKind, case_links
from cxloop_scoring.domain.facts import Facts
from cxloop_scoring.domain.instants import instant
from cxloop_scoring.domain.metrics import MetricNumber
from cxloop_scoring.store.connection import Connection

_REMEMBER = """
    INSERT INTO case_links (kind, subject, case_document, recorded_at)
    SELECT u.kind, u.subject, u.case_document, $4
    FROM unnest($1::int2[], $2::text[], $3::text[]) AS u (kind, subject, case_document)
    ON CONFLICT (kind, subject, case_document) WHERE forgotten_at IS NULL DO NOTHING
"""

_FORGET = """
    UPDATE case_links AS l SET forgotten_at = $4
    FROM unnest($1::int2[], $2::text[], $3::text[]) AS u (kind, subject, case_document)
    WHERE l.kind = u.kind AND l.subject = u.subject AND l.case_document = u.case_document
        AND l.forgotten_at IS NULL
"""


_IN_FORCE = """
    SELECT kind, subject, case_document FROM case_links
    WHERE case_document = ANY($1::text[]) AND forgotten_at IS NULL
"""

_FIRST_BOOKED = """
    SELECT l.document, min(l.recorded_at) FROM unnest($2::text[], $3::timestamptz[]) AS u (document, at)
    JOIN ledger AS l ON l.metric = $1 AND l.at = u.at AND l.document = u.document
    GROUP BY l.document
"""


def in_force(row: str, as_of: str | None = None) -> str:
    """Write the condition on a row of `case_links` that it is believed, now or at the placeholder `as_of`."""
    if as_of is None:
        return f" AND {row}.forgotten_at IS NULL"
    return (
        f" AND {row}.recorded_at <= {as_of}::timestamptz"
        f" AND ({row}.forgotten_at IS NULL OR {row}.forgotten_at > {as_of}::timestamptz)"
    )


async def remember_case_links(
    connection: Connection, links: Sequence[CaseLink], recorded_at: datetime
) -> None:
    """Write links, in the order of their keys; a link in force keeps the time when it was first met."""
    if links:
        await connection.execute(_REMEMBER, *_columns(sorted(set(links))), recorded_at)


async def forget_case_links(
    connection: Connection, links: Sequence[CaseLink], forgotten_at: datetime
) -> None:
    """End links that no version of their case names any more: another content won under its event id."""
    if links:
        await connection.execute(_FORGET, *_columns(links), forgotten_at)


class LinksToMend(NamedTuple):
    """What the table has too little and too much of the links of some cases."""

    lacking: Sequence[CaseLink]
    surplus: Sequence[CaseLink]


async def links_to_mend(connection: Connection, documents: Mapping[str, Facts]) -> LinksToMend:
    """Hold the links in force against what the records of cases name; documents of other kinds have none."""
    cases = {id_: facts for id_, facts in documents.items() if id_.startswith(CASE)}
    if not cases:
        return LinksToMend((), ())
    named = {link for id_, facts in cases.items() for link in case_links(id_, facts)}
    rows = await connection.fetch(_IN_FORCE, sorted(cases))
    held = {CaseLink(LinkKind(row[0]), row[1], row[2]) for row in rows}
    return LinksToMend(sorted(named - held), sorted(held - named))


async def mend_links(
    connection: Connection, documents: Mapping[str, Facts], mending: LinksToMend, now: datetime
) -> None:
    """Write the links that are lacking and end those that are too many.

    A link dates from when its case was first booked, as the ledger knows, or from the first record that names
    it where that is later. What was forgotten before it was lost is not to be found again.
    """
    await forget_case_links(connection, mending.surplus, now)
    times = {
        (link.case_document, fact.at)
        for link in mending.lacking
        for fact in documents[link.case_document].values()
    }
    rows = await connection.fetch(
        _FIRST_BOOKED,
        int(MetricNumber.CASE_OPENED),
        [document for document, _ in sorted(times)],
        [instant(at) for _, at in sorted(times)],
    )
    booked: dict[str, datetime] = {row[0]: row[1] for row in rows}
    since: dict[datetime, list[CaseLink]] = {}
    for link in mending.lacking:
        case = link.case_document
        told = min(fact.at for fact in documents[case].values() if link in case_links(case, {"": fact}))
        since.setdefault(min(now, max(instant(told), booked.get(case, instant(told)))), []).append(link)
    for recorded_at, links in sorted(since.items()):
        await remember_case_links(connection, links, recorded_at)


def _columns(links: Sequence[CaseLink]) -> tuple[list[int], list[str], list[str]]:
    return (
        [int(link.kind) for link in links],
        [link.subject for link in links],
        [link.case_document for link in links],
    )
