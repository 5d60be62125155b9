"""What the numbers in ledger rows stand for: dimensions and their values."""

from collections.abc import Collection, Sequence

from cxloop_scoring.domain.dimensions import COLUMNS
from cxloop_scoring.store.connection import Connection


async def words_of(connection: Connection, ids: Collection[int]) -> dict[int, tuple[str | None, str]]:
    """Give declared dimension (None for a tag or a built-in one) and text of value ids."""
    rows = await connection.fetch(
        """
        SELECT v.id, d.name, v.value FROM dimension_values AS v
        LEFT JOIN dimensions AS d ON d.id = v.dimension WHERE v.id = ANY($1::int4[])
        """,
        sorted(ids),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def declared_value(connection: Connection, dimension: str, text: str | None) -> int | None:
    """Give the value id of a text in a declared dimension; None where nothing was ever filed under it."""
    found: int | None = await connection.fetchval(
        """
        SELECT v.id FROM dimension_values AS v JOIN dimensions AS d ON d.id = v.dimension
        WHERE d.name = $1 AND v.value = $2
        """,
        dimension,
        text,
    )
    return found


def named_dimensions(
    columns: Sequence[int | None], more: Sequence[int], words: dict[int, tuple[str | None, str]]
) -> dict[str, str | list[str]]:
    """Name the dimensions of a ledger row; tags are a list."""
    named: dict[str, str | list[str]] = {
        name: words[value][1] for name, value in zip(COLUMNS, columns, strict=True) if value is not None
    }
    tags: list[str] = []
    for value in more:
        name, text = words[value]
        if name is None:
            tags.append(text)
        else:
            named[name] = text
    if tags:
        named["tag"] = sorted(tags)
    return named
