"""A body is read within its limits, whatever its sender does."""

import asyncio
import gzip
import tracemalloc
import zlib

import pytest
from starlette.types import Message

from cxloop_common.http import Problem
from cxloop_ingest.api.deadlines import Deadlines
from cxloop_ingest.api.receive import decompress, read_body

LIMIT = 1_048_576


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_a_bomb_is_refused_before_it_takes_memory(coding: bytes) -> None:
    bomb = (gzip.compress if coding == b"gzip" else zlib.compress)(b"\0" * 200_000_000)
    tracemalloc.start()
    with pytest.raises(Problem) as refused:
        decompress(bomb, coding, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.status == 413
    assert peak < 8 * LIMIT


def test_gzip_members_follow_each_other_and_nothing_else_does() -> None:
    assert decompress(gzip.compress(b"ab") + gzip.compress(b"c"), b"gzip", LIMIT) == b"abc"
    for wire, coding in (
        (gzip.compress(b"ab") + b"rest", b"gzip"),
        (zlib.compress(b"ab") + b"rest", b"deflate"),
        (b"", b"gzip"),
    ):
        with pytest.raises(Problem) as refused:
            decompress(wire, coding, LIMIT)
        assert refused.value.status == 400


async def test_a_chunked_body_is_cut_off_at_the_limit() -> None:
    received = 0

    async def endless() -> Message:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    with pytest.raises(Problem) as refused:
        await read_body(endless, {}, limit=LIMIT, deadlines=Deadlines(5))
    assert (refused.value.status, received) == (413, 17)


async def test_a_connection_that_closes_half_way_is_a_408() -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def closing() -> Message:
        return messages.pop(0)

    with pytest.raises(Problem) as refused:
        await read_body(closing, {b"content-length": b"9"}, limit=LIMIT, deadlines=Deadlines(5))
    assert refused.value.status == 408


async def test_a_deadline_ends_those_that_wait_too_long_and_no_other() -> None:
    deadlines = Deadlines(0.05)

    async def wait(release: asyncio.Event | None) -> str:
        task = deadlines.begin()
        try:
            await (release or asyncio.Event()).wait()
        except asyncio.CancelledError as error:
            try:
                deadlines.raise_if_ended(task, error)
            except TimeoutError:
                return "ended"
            return "cancelled"
        finally:
            deadlines.end(task)
        return "done"

    release = asyncio.Event()
    quick, slow, stopped = (asyncio.create_task(wait(event)) for event in (release, None, None))
    await asyncio.sleep(0)
    release.set()
    stopped.cancel()
    assert await asyncio.gather(quick, slow, stopped) == ["done", "ended", "cancelled"]
    assert await wait(None) == "ended"

    older = asyncio.create_task(wait(None))
    await asyncio.sleep(0.03)
    later = asyncio.Event()
    younger = asyncio.create_task(wait(later))
    assert await older == "ended"
    later.set()
    assert await younger == "done"
