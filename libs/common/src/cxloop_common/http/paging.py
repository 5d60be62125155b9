"""Lists in pages: a limit and an opaque cursor, answered with the items and the next cursor."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from fastapi import Depends, Query
from pydantic import BaseModel, Field

from cxloop_common.http.parameters import parameter_problem

T = TypeVar("T")

DEFAULT_LIMIT: Final = 50
LARGEST_LIMIT: Final = 500
_LONGEST_CURSOR: Final = 1024
_CHECK_BYTES: Final = 8

CursorValue = str | int | float | bool | datetime | None
"""What a position is made of: the columns of the list's order. Times carry their zone."""


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None = Field(
        default=None, description="Pass as cursor to get the next page; null on the last one."
    )


def encode_cursor(position: Sequence[CursorValue], listing: str) -> str:
    """Write the position of a page's last item as an opaque text.

    ``listing`` names the list and its filters: a cursor is of use for that list alone. The cursor is checked
    against damage and mix-ups, not signed: it holds nothing that the caller may not choose.
    """
    payload = msgspec.msgpack.encode(list(position))
    return base64.urlsafe_b64encode(_check(payload, listing) + payload).rstrip(b"=").decode()


def decode_cursor(cursor: str, listing: str, *types: Any) -> tuple[Any, ...]:
    """Give the position back, its values checked against ``types``, such as ``(datetime, str)``.

    Raises Problem 400 for a cursor that was changed, or that belongs to another list.
    """
    wrong = parameter_problem("cursor", "pass next_cursor of the page before, with the same filters")
    if len(cursor) > _LONGEST_CURSOR:
        raise wrong
    try:
        raw = base64.b64decode(
            cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        )
    except ValueError as error:
        raise wrong from error
    check, payload = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    if not hmac.compare_digest(check, _check(payload, listing)):
        raise wrong
    try:
        return msgspec.msgpack.decode(payload, type=tuple[types])
    except msgspec.DecodeError as error:
        raise wrong from error


def _check(payload: bytes, listing: str) -> bytes:
    return hashlib.blake2b(
        payload, digest_size=_CHECK_BYTES, key=hashlib.sha256(listing.encode()).digest()
    ).digest()


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is asked for."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None

    def after(self, listing: str, *types: Any) -> tuple[Any, ...] | None:
        """Give the position to continue after; None for the first page. Raises Problem 400."""
        return None if self.cursor is None else decode_cursor(self.cursor, listing, *types)

    def cut(
        self, rows: Sequence[T], listing: str, position: Callable[[T], Sequence[CursorValue]]
    ) -> tuple[Sequence[T], str | None]:
        """Cut the page off ``rows``, of which one more than the limit was read, and give the next one's cursor."""
        if len(rows) <= self.limit:
            return rows, None
        shown = rows[: self.limit]
        return shown, encode_cursor(position(shown[-1]), listing)


async def page_request(
    limit: Annotated[
        int, Query(ge=1, le=LARGEST_LIMIT, description="Most items in the answer")
    ] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, Query(max_length=_LONGEST_CURSOR, description="next_cursor of the page before")
    ] = None,
) -> PageRequest:
    """Read limit and cursor of a list call."""
    return PageRequest(limit, cursor)


Paging = Annotated[PageRequest, Depends(page_request)]
"""The parameter type of a list endpoint: ``async def cases(page: Paging) -> Page[Case]``."""
