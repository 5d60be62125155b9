"""Which scores raised a case, and which cases it stands for: from when a case first says so until none does."""

from collections.abc import Sequence
from datetime import datetime

from cxloop_scoring.domain.cases import CaseLink
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


def _columns(links: Sequence[CaseLink]) -> tuple[list[int], list[str], list[str]]:
    return (
        [int(link.kind) for link in links],
        [link.subject for link in links],
        [link.case_document for link in links],
    )
