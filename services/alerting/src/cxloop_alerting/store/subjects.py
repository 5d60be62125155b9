"""Locks on subjects. A subject is a customer, or a hint nobody has linked yet; its lock guards its cases."""

from collections.abc import Collection
from typing import Any

_INSERT = """
INSERT INTO subjects (customer) SELECT customer FROM unnest($1::text[]) AS n(customer) ORDER BY customer COLLATE "C"
ON CONFLICT DO NOTHING
"""


async def lock(connection: Any, subjects: Collection[str]) -> None:
    """Lock subjects in the order of their names, waiting for others."""
    # Sorted here as well: the order of locks must be one for all, whatever the database's collation.
    ordered = sorted(subjects)
    await connection.execute(_INSERT, ordered)
    await connection.execute(
        'SELECT FROM subjects WHERE customer = ANY($1::text[]) ORDER BY customer COLLATE "C" FOR UPDATE',
        ordered,
    )


async def try_lock(connection: Any, subjects: Collection[str]) -> bool:
    """Lock subjects unless somebody else holds one: timers never wait for customers, so they never deadlock."""
    ordered = sorted(subjects)
    await connection.execute(_INSERT, ordered)
    found = await connection.fetch(
        'SELECT customer FROM subjects WHERE customer = ANY($1::text[]) ORDER BY customer COLLATE "C" '
        "FOR UPDATE SKIP LOCKED",
        ordered,
    )
    return len(found) == len(ordered)
