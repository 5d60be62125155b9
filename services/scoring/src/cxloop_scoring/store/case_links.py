"""Which scores raised a case, and which cases it stands for: written down when a case first says so."""

from collections.abc import Sequence
from datetime import datetime

from cxloop_scoring.domain.cases import CaseLink
from cxloop_scoring.store.connection import Connection

_REMEMBER = """
    INSERT INTO case_links (kind, subject, case_document, recorded_at)
    SELECT u.kind, u.subject, u.case_document, $4
    FROM unnest($1::int2[], $2::text[], $3::text[]) AS u (kind, subject, case_document)
    ON CONFLICT (kind, subject, case_document) DO NOTHING
"""

_FORGET = """
    DELETE FROM case_links AS l USING unnest($1::int2[], $2::text[], $3::text[]) AS u (kind, subject, case_document)
    WHERE l.kind = u.kind AND l.subject = u.subject AND l.case_document = u.case_document
"""


async def remember_case_links(
    connection: Connection, links: Sequence[CaseLink], recorded_at: datetime
) -> None:
    """Write links, in the order of their keys; a link that is known keeps the time when it was first met."""
    if links:
        ordered = sorted(set(links))
        await connection.execute(
            _REMEMBER,
            [int(link.kind) for link in ordered],
            [link.subject for link in ordered],
            [link.case_document for link in ordered],
            recorded_at,
        )


async def forget_case_links(connection: Connection, links: Sequence[CaseLink]) -> None:
    """Delete links that no version of their case names any more: another content won under its event id."""
    if links:
        await connection.execute(
            _FORGET,
            [int(link.kind) for link in links],
            [link.subject for link in links],
            [link.case_document for link in links],
        )
