"""Scales by which surveys are answered: a survey that is answered by two of them contradicts itself."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from cxloop_common.database import Database
from cxloop_scoring.domain.dimensions import storable
from cxloop_scoring.domain.documents import RESPONSE, source_of
from cxloop_scoring.domain.facts import Fact, Facts, Responded
from cxloop_scoring.store.connection import Connection

_KEPT: Final = 50_000
"""Scales kept in memory; beyond, the cache starts afresh."""

_ADD = """
    INSERT INTO scales (source, survey, metric, least, most, lower_is_better)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[], $6::bool[])
    ON CONFLICT DO NOTHING
"""
_LACKING = """
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::float8[], $6::bool[])
    EXCEPT SELECT source, survey, metric, least, most, lower_is_better FROM scales
"""
_CONTRADICTING = """
    SELECT count(*) FROM (
        SELECT FROM scales GROUP BY source, survey, metric HAVING count(*) > 1
    ) AS contradicting
"""
_OTHERS = """
    SELECT least, most, lower_is_better FROM scales
    WHERE source = $1 AND survey = $2 AND metric = $3 AND (least, most, lower_is_better) <> ($4, $5, $6)
    ORDER BY least, most, lower_is_better
"""


class Scale(NamedTuple):
    """Both ends of a scale, and which of them is better."""

    least: float
    most: float
    lower_is_better: bool


class SurveyScale(NamedTuple):
    """A scale by which a survey's answers in one metric were given."""

    source: str
    survey: str
    metric: str
    scale: Scale


def scale_of(source: str, fact: Fact) -> SurveyScale | None:
    """Give the scale of an answer to a survey; None for what is none, or names no survey."""
    if not isinstance(fact, Responded):
        return None
    survey = fact.said.get("survey")
    if not survey:
        return None
    return SurveyScale(
        source, storable(survey), fact.metric, Scale(fact.least, fact.most, fact.lower_is_better)
    )


def scales_of(documents: Mapping[str, Facts]) -> set[SurveyScale]:
    """Give the scales by which the answers of documents were given."""
    return {
        scale
        for document, facts in documents.items()
        if document.startswith(RESPONSE)
        for fact in facts.values()
        if (scale := scale_of(source_of(document), fact)) is not None
    }


class Scales:
    """Keeps all scales that surveys were ever answered by.

    They are committed on a connection of their own before the batch that brings them, as dimension values
    are: what is remembered here exists for good. Every answer counts, the ones that lose against another
    under the same event id included, so the table is a function of the set of events.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[SurveyScale] = set()

    async def learn(self, found: Iterable[SurveyScale]) -> None:
        """Write down the scales that are new."""
        news = sorted(set(found) - self._known)
        if not news:
            return
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            await connection.execute(_ADD, *_columns(news))
        if len(self._known) > _KEPT:
            self._known = set()
        self._known.update(news)


async def restore_scales(connection: Connection, found: Iterable[SurveyScale], *, write: bool) -> int:
    """Write down those of the scales that are lacking, unless told not to; give how many they are.

    None is taken away: answers that lost against others were given by a scale too, and are not kept.
    """
    if not (ordered := sorted(found)):
        return 0
    rows = await connection.fetch(_LACKING, *_columns(ordered))
    lacking = sorted(SurveyScale(row[0], row[1], row[2], Scale(*row[3:])) for row in rows)
    if write and lacking:
        await connection.execute(_ADD, *_columns(lacking))
    return len(lacking)


def _columns(ordered: Sequence[SurveyScale]) -> list[list[Any]]:
    """Give the columns of the table. Sorted rows keep two writers from waiting for each other in a circle."""
    return [list(column) for column in zip(*((*one[:3], *one.scale) for one in ordered), strict=True)]


async def contradicting_scales(connection: Connection) -> int:
    """Count the surveys whose answers in one metric came by more than one scale."""
    found: int = await connection.fetchval(_CONTRADICTING)
    return found


async def other_scales(connection: Connection, own: SurveyScale) -> Sequence[Scale]:
    """Give the scales that contradict an answer's own: those of other answers to its survey in its metric."""
    rows = await connection.fetch(_OTHERS, *own[:3], *own.scale)
    return [Scale(*row) for row in rows]
