"""Which identifiers belong to which customer: now, and as it was known at any time before.

`customers` holds the highest version of each identifier. `customer_history` holds every version with the time
when it was first met, so that `as_of` questions join what was joined then. An identifier in neither is its own
customer.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cxloop_scoring.domain.customers import Ownership
from cxloop_scoring.store.connection import Connection

# Rows of one version are met once, but for a contradiction: then the lesser customer counts, here as below.
_REMEMBER: Final = """
    INSERT INTO customer_history AS h (identifier, version, customer, recorded_at)
    SELECT u.identifier, u.version, u.customer, $4
    FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS u (identifier, version, customer)
    ON CONFLICT (identifier, version) DO UPDATE SET customer = excluded.customer
    WHERE excluded.customer < h.customer
"""
_OWN: Final = """
    INSERT INTO customers AS c (identifier, version, customer)
    SELECT u.identifier, u.version, u.customer
    FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS u (identifier, version, customer)
    ON CONFLICT (identifier) DO UPDATE SET customer = excluded.customer, version = excluded.version
    WHERE excluded.version > c.version OR (excluded.version = c.version AND excluded.customer < c.customer)
"""


async def remember_owners(connection: Connection, said: Sequence[Ownership], recorded_at: datetime) -> None:
    """Write what records said of identifiers, sorted and each version once.

    Rows are written in the order of their keys, so that two workers never wait for each other in a circle.
    Duplicates write nothing, and any order leaves the same `customers`.
    """
    if not said:
        return
    highest = {identifier: (version, customer) for identifier, version, customer in said}
    await connection.execute(_REMEMBER, *_columns(said), recorded_at)
    await connection.execute(
        _OWN, *_columns([Ownership(identifier, *owner) for identifier, owner in sorted(highest.items())])
    )


def _columns(said: Sequence[Ownership]) -> tuple[list[int], list[int], list[int]]:
    return (
        [one.identifier for one in said],
        [one.version for one in said],
        [one.customer for one in said],
    )


def canonical(row: str, known_at: str | None) -> tuple[str, str]:
    """Write the customer of ledger rows called `row`, and the join that finds it.

    known_at: placeholder of the time whose knowledge counts; None for now. The join makes a row called
    `<row>_owner`; the customer is null for anonymous rows alone.
    """
    owner = f"{row}_owner"
    return (
        f"coalesce({owner}.customer, {row}.customer)",
        f"LEFT JOIN {_owners(known_at)} AS {owner} ON {owner}.identifier = {row}.customer",
    )


def identifiers_of(owners: str, known_at: str | None) -> str:
    """Write the rows `identifier` and `owner` of customers: those that `canonical` gives back their customer for.

    owners: a table of different `owner`s. known_at: as for `canonical`.
    """
    known = _owners(known_at)
    return f"""
        SELECT known.identifier, o.owner FROM {owners} AS o JOIN {known} AS known ON known.customer = o.owner
        UNION ALL
        SELECT o.owner, o.owner FROM {owners} AS o
        WHERE NOT EXISTS (SELECT FROM {known} AS known WHERE known.identifier = o.owner)
    """


def _owners(known_at: str | None) -> str:
    if known_at is None:
        return "customers"
    return f"""(
        SELECT DISTINCT ON (identifier) identifier, customer FROM customer_history
        WHERE recorded_at <= {known_at}::timestamptz ORDER BY identifier, version DESC
    )"""
