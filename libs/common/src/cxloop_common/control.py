"""What every service offers its operators: parked records and paused partitions."""

from datetime import datetime
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from cxloop_common.context import Context
from cxloop_common.http import Page, Paging, Problem, encode_cursor, require
from cxloop_common.kafka.admin import Admin
from cxloop_common.kafka.consumer import Reader
from cxloop_common.kafka.errors import KafkaError
from cxloop_common.kafka.records import Partition
from cxloop_common.processor import dead_letters, offsets
from cxloop_common.security import Scope

LISTING = "dead-letters"


class DeadLetterItem(BaseModel):
    """A record that the worker parked."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    first_seen: datetime
    replays: int
    replayed_at: datetime | None


class Replayed(BaseModel):
    """How many records were written again."""

    replayed: int


class PartitionItem(BaseModel):
    """Where a worker stands in a partition."""

    topic: str
    partition: int
    next_offset: int
    poison_streak: int
    paused: str | None


class PartitionName(BaseModel):
    """A partition."""

    topic: str
    partition: int


class Released(BaseModel):
    """Which partitions go on."""

    released: list[PartitionName]


def control_router(context: Context) -> APIRouter:  # noqa: C901  # five routes close over the context
    """Make the routes for dead letters and partitions."""
    router = APIRouter(prefix="/v1", tags=["operations"])

    @router.get(
        "/dead-letters", dependencies=[Depends(require(Scope.READ))], summary="Records the worker parked"
    )
    async def list_dead_letters(  # pyright: ignore[reportUnusedFunction]
        page: Paging, reason: Annotated[str | None, Query(max_length=64)] = None
    ) -> Page[DeadLetterItem]:
        before = cast(
            "tuple[datetime, str, int, int] | None",
            page.after(f"{LISTING}:{reason or ''}", datetime, str, int, int),
        )
        pool = await context.database.pool()
        async with pool.acquire() as connection:
            found = await dead_letters.listing(connection, reason=reason, before=before, limit=page.limit + 1)
        items = [DeadLetterItem(**vars(letter)) for letter in found[: page.limit]]
        more = None
        if len(found) > page.limit:
            last = items[-1]
            position = [last.first_seen, last.topic, last.partition, last.offset]
            more = encode_cursor(position, f"{LISTING}:{reason or ''}")
        return Page(items=items, next_cursor=more)

    @router.post(
        "/dead-letters/replay",
        status_code=202,
        dependencies=[Depends(require(Scope.OPERATE))],
        summary="Write parked records to their topic again, after a fix",
    )
    async def replay_dead_letters(  # pyright: ignore[reportUnusedFunction]
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        reason: str | None = None,
    ) -> Replayed:
        pool = await context.database.pool()
        total = 0
        while True:
            async with pool.acquire() as connection, connection.transaction():
                messages = await dead_letters.take_for_replay(
                    connection, topic=topic, partition=partition, offset=offset, reason=reason
                )
                if not messages:
                    return Replayed(replayed=total)
                try:
                    await (await context.producer.send_all(messages))
                except KafkaError as error:
                    raise Problem(
                        503,
                        detail="Kafka took not all records; those that are missing can be replayed again.",
                        headers={"Retry-After": "5"},
                    ) from error
                total += len(messages)

    @router.get("/partitions", dependencies=[Depends(require(Scope.READ))], summary="Where the worker stands")
    async def list_partitions() -> list[PartitionItem]:  # pyright: ignore[reportUnusedFunction]
        pool = await context.database.pool()
        async with pool.acquire() as connection:
            rows = await offsets.all_positions(connection)
        return [
            PartitionItem(
                topic=place.topic,
                partition=place.number,
                next_offset=row.next_offset,
                poison_streak=row.poison_streak,
                paused=row.paused,
            )
            for place, row in rows.items()
        ]

    @router.post(
        "/partitions/release",
        dependencies=[Depends(require(Scope.OPERATE))],
        summary="Let partitions go on that were paused for too much poison in a row",
    )
    async def release_partitions(  # pyright: ignore[reportUnusedFunction]
        topic: str | None = None, partition: int | None = None
    ) -> Released:
        pool = await context.database.pool()
        async with pool.acquire() as connection:
            places = await offsets.release(connection, topic, partition)
        return Released(
            released=[PartitionName(topic=place.topic, partition=place.number) for place in places]
        )

    @router.post(
        "/partitions/accept-loss",
        dependencies=[Depends(require(Scope.ADMIN))],
        summary="Go on from the log's start although records before it were never seen",
    )
    async def accept_loss(topic: str, partition: int) -> PartitionItem:  # pyright: ignore[reportUnusedFunction]
        place = Partition(topic, partition)
        start, topic_id = await _log_start(context.settings.kafka_bootstrap, place)
        pool = await context.database.pool()
        async with pool.acquire() as connection, connection.transaction():
            if place not in await offsets.lock(connection, [place]):
                raise Problem(404, detail="The worker has never read this partition.")
            await offsets.accept_loss(connection, place, topic_id, start)
            row = (await offsets.read(connection, [place]))[place]
        return PartitionItem(
            topic=topic,
            partition=partition,
            next_offset=row.next_offset,
            poison_streak=row.poison_streak,
            paused=row.paused,
        )

    return router


async def _log_start(bootstrap: str, place: Partition) -> tuple[int, str]:
    reader = Reader(bootstrap)
    try:
        async with Admin(bootstrap) as admin:
            state = (await admin.describe([place.topic])).get(place.topic)
        if state is None or place.number >= state.partitions:
            raise Problem(404, detail="There is no such partition on the broker.")
        await reader.start()
        return (await reader.starts([place]))[place], state.topic_id
    except KafkaError as error:
        raise Problem(503, detail="Kafka does not answer.", headers={"Retry-After": "5"}) from error
    finally:
        await reader.stop()
