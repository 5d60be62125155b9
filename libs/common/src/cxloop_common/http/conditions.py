"""Conditional and repeatable changes: ETag, If-Match and Idempotency-Key."""

import re
from typing import Annotated, Final

from fastapi import Depends, Header

from cxloop_common.http.parameters import parameter_problem
from cxloop_common.http.problems import Problem

_STRONG_ETAGS: Final = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)*')
_ETAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
_IDEMPOTENCY_KEY: Final = re.compile(r'"[\x20-\x21\x23-\x7e]{1,128}"|[\x21\x23-\x7e]{1,128}')


def etag(version: int | str) -> str:
    """Write a version as a strong ETag: ``"7"``."""
    return f'"{version}"'


def check_if_match(header: str | None, version: int | str, *, required: bool = False) -> None:
    """Let a change pass only if it was made looking at the current version.

    ``*`` matches any version; weak tags never match (RFC 9110, section 13.1.1). Raises Problem 412 if the
    header names other versions, 428 if it is missing although required, 400 if it is no list of ETags.
    """
    if header is None:
        if required:
            raise Problem(
                428,
                detail="Say which version this change is based on: If-Match with the ETag of your last read.",
            )
        return
    if header.strip() == "*":
        return
    if _STRONG_ETAGS.fullmatch(header) is None:
        raise parameter_problem("If-Match", 'write an ETag as it was given, such as "7"')
    if not any(not weak and value == str(version) for weak, value in _ETAG.findall(header)):
        raise Problem(
            412,
            detail="It has changed since you read it. Read it again, and decide on what it is now.",
            headers={"ETag": etag(version)},
        )


IfMatch = Annotated[str | None, Header(alias="If-Match", max_length=512)]
"""The parameter type of an endpoint that passes the header on to `check_if_match`."""


async def idempotency_key(
    key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
) -> str | None:
    """Read the Idempotency-Key header, quoted as in the IETF draft or bare; None without one.

    Raises Problem 400 for a key that is empty, longer than 128 characters or not printable ASCII.
    """
    if key is None:
        return None
    if _IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise parameter_problem("Idempotency-Key", "write 1 to 128 printable ASCII characters")
    return key[1:-1] if key.startswith('"') else key


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]
"""The parameter type of an endpoint that takes an idempotency key."""
