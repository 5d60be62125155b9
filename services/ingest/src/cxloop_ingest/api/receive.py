"""Receiving a body: within a deadline, within a size, decompressed without being blown up."""

import asyncio
import zlib
from collections.abc import Mapping
from typing import Final

from starlette.types import Receive

from cxloop_common.http import Problem
from cxloop_ingest.api.deadlines import Deadlines

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_PLAIN: Final = frozenset({b"", b"identity"})
_ENCODINGS: Final = _PLAIN | {b"gzip", b"x-gzip", b"deflate"}
_JSON_TYPES: Final = frozenset({b"application/json", b"text/json"})


def check_content_type(headers: Mapping[bytes, bytes]) -> None:
    """Raise Problem 415 unless the body is announced as JSON of some kind."""
    announced = headers.get(b"content-type", b"")
    if announced == b"application/json":
        return
    media = announced.partition(b";")[0].strip().lower()
    if media in _JSON_TYPES or (media.startswith(b"application/") and media.endswith(b"+json")):
        return
    raise Problem(
        415,
        detail="The content type is not JSON: send application/json.",
        headers={"Accept": "application/json, application/*+json"},
    )


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], *, limit: int, deadlines: Deadlines
) -> tuple[bytes, bytes]:
    """Read a request's body; give (content, bytes on the wire), the same object where nothing was encoded.

    Raises Problem 400 for a broken encoding, 408 for a body slower than the deadline or shorter than
    announced, 413 for one over the limit before or after decompression, 415 for an encoding we do not read.
    """
    announced = _announced(headers)
    if announced is not None and announced > limit:
        raise _too_large(limit)
    coding = headers.get(b"content-encoding")
    if coding is not None:
        coding = coding.strip().lower()
        if coding not in _ENCODINGS:
            raise Problem(
                415,
                detail="The content encoding is not one of gzip, deflate and identity.",
                headers={"Accept-Encoding": "gzip, deflate, identity"},
            )
    task = deadlines.begin()
    try:
        wire = await _read(receive, limit)
    except asyncio.CancelledError as error:
        try:
            deadlines.raise_if_ended(task, error)
        except TimeoutError:
            raise Problem(
                408,
                detail=f"The body did not arrive within {deadlines.seconds:g} seconds.",
                headers={"Connection": "close"},
            ) from None
        raise
    finally:
        deadlines.end(task)
    if announced is not None and len(wire) < announced:
        raise Problem(408, detail="The body is shorter than announced.", headers={"Connection": "close"})
    if coding is None or coding in _PLAIN:
        return wire, wire
    return decompress(wire, coding, limit), wire


def _announced(headers: Mapping[bytes, bytes]) -> int | None:
    written = headers.get(b"content-length")
    if written is None:
        return None
    if not written.isdigit():
        raise Problem(400, detail="The Content-Length is no number.")
    # More digits than any limit has: int() of thousands of digits is slow.
    return int(written[:20])


async def _read(receive: Receive, limit: int) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        return body
    chunks: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()
    raise Problem(408, detail="The connection was closed before the body was complete.")


def decompress(wire: bytes, coding: bytes, limit: int) -> bytes:
    """Decompress at most `limit` bytes. Raises Problem 400 for a broken stream and 413 for a longer one."""
    try:
        if coding == b"deflate":
            # RFC 9110 means zlib's wrapper; some senders leave it out.
            try:
                return _inflate(wire, zlib.MAX_WBITS, limit)
            except zlib.error:
                return _inflate(wire, -zlib.MAX_WBITS, limit)
        return _inflate(wire, _GZIP_WINDOW, limit)
    except zlib.error:
        raise Problem(400, detail="The body is not in the encoding that Content-Encoding names.") from None


def _inflate(wire: bytes, window: int, limit: int) -> bytes:
    content = b""
    rest = wire
    while True:
        stream = zlib.decompressobj(window)
        content += stream.decompress(rest, limit + 1 - len(content))
        if len(content) > limit:
            raise _too_large(limit)
        if not stream.eof:
            raise zlib.error("the stream ends early")
        rest = stream.unused_data
        if not rest:
            return content
        if window != _GZIP_WINDOW:
            raise zlib.error("something follows the stream")


def _too_large(limit: int) -> Problem:
    return Problem(413, detail=f"The body is larger than this service takes ({limit} bytes).")
