"""Topics on the broker: made where allowed, compared with the registry, and told apart by their ids."""

import asyncio
import contextlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Self, cast

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError as ClientError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from cxloop_common.kafka.errors import KafkaUnavailableError, TopicError

TIMEOUT_S = 15.0
TOPIC_ALREADY_EXISTS = 36
UNKNOWN_TOPIC = 3


class _Uuid(AbstractType[uuid.UUID]):
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


class _MetadataResponseV10(Response):
    API_KEY = 3  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]  # as the client's own classes
    API_VERSION = 10  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]  # as above
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition_index", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequestV10(RequestStruct):
    """Metadata version 10, the first to tell topic ids (KIP-516); the client itself stops at version 5."""

    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _MetadataResponseV10
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicIdsRequest(Request[_MetadataRequestV10]):
    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[_MetadataRequestV10]) -> _MetadataRequestV10:
        no_tags: dict[int, bytes] = {}
        topics = [(uuid.UUID(int=0), name, no_tags) for name in self._topics]
        return request_struct_class(topics, False, False, False, no_tags)  # noqa: FBT003  # positional, as the protocol's structs are


@dataclass(frozen=True)
class TopicState:
    """A topic as it stands on the broker."""

    topic_id: str
    """Kafka's own id (32 hex digits): a topic that was deleted and made again has another."""
    partitions: int


class Admin:
    """Makes and inspects topics. Every call is bounded in time and raises KafkaUnavailableError."""

    def __init__(self, bootstrap: str, *, client_id: str = "cxloop-admin") -> None:
        self._bootstrap = bootstrap
        self._client: Any = AIOKafkaAdminClient(
            bootstrap_servers=bootstrap, client_id=client_id, request_timeout_ms=int(TIMEOUT_S * 1000)
        )

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._client.start()
        except (TimeoutError, ClientError, OSError) as error:
            await self.__aexit__()
            raise KafkaUnavailableError(f"no Kafka at {self._bootstrap} ({type(error).__name__})") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        with contextlib.suppress(TimeoutError, ClientError, OSError):
            async with asyncio.timeout(5):
                await self._client.close()

    async def create(
        self, topics: Mapping[str, Mapping[str, str]], *, partitions: int, replication: int = 1
    ) -> list[str]:
        """Create the missing ones of these topics (name to settings); return the names of those that were made.

        Raises TopicError where the broker refuses one.
        """
        if not topics:
            return []
        wanted = [
            NewTopic(name, partitions, replication, topic_configs=dict(settings))
            for name, settings in topics.items()
        ]
        answer = await self._ask(self._client.create_topics(wanted))
        made: list[str] = []
        for name, code, *detail in cast("list[tuple[str, int, str | None]]", answer.topic_errors):
            if code == 0:
                made.append(name)
            elif code != TOPIC_ALREADY_EXISTS:
                raise TopicError(
                    f"the broker refuses to create {name}: error {code} {detail[0] if detail else ''}"
                )
        if made:
            await self._wait_for(made)
        return made

    async def delete(self, names: Iterable[str]) -> None:
        """Delete topics; for tests and for starting afresh."""
        await self._ask(self._client.delete_topics(list(names)))

    async def names(self) -> set[str]:
        """Return the names of all topics."""
        return set(cast("list[str]", await self._ask(self._client.list_topics())))

    async def describe(self, names: Iterable[str]) -> dict[str, TopicState]:
        """Return id and partition count of those topics that exist."""
        client = self._client._client  # noqa: SLF001  # the admin client sends no request of a version it does not know
        node = client.get_random_node()
        answer = await self._ask(client.send(node, _TopicIdsRequest(names)))
        return {
            name: TopicState(topic_id.hex, len(partitions))
            for code, name, topic_id, _, partitions, *_ in cast("list[tuple[Any, ...]]", answer.topics)
            if code == 0
        }

    async def settings(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the settings of topics."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        answers = cast("list[Any]", await self._ask(self._client.describe_configs(resources)))
        return {
            cast("str", name): {entry[0]: entry[1] for entry in entries}
            for answer in answers
            for _, _, _, name, entries in answer.resources
        }

    async def _wait_for(self, names: list[str]) -> None:
        """Wait until created topics are known everywhere: the controller knows them first."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(await self.describe(names)) < len(names):  # noqa: ASYNC110  # the broker tells nobody
                await asyncio.sleep(0.05)

    async def _ask(self, question: Any) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await question
        except (TimeoutError, ClientError, OSError) as error:
            raise KafkaUnavailableError(f"Kafka does not answer ({type(error).__name__})") from error
