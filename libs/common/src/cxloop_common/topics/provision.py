"""Topics made where they are missing, and compared with the registry where they exist."""

from collections.abc import Iterable

from cxloop_common.kafka.admin import Admin
from cxloop_common.kafka.errors import TopicError
from cxloop_common.topics import Topic, TopicNames


async def ensure_topics(
    admin: Admin,
    topics: Iterable[Topic],
    names: TopicNames,
    *,
    partitions: int,
    replication: int = 1,
    create: bool = True,
) -> list[str]:
    """Make missing topics where allowed and compare all with the registry; return the names of those made.

    Raises TopicError naming every topic that is missing or differs in what cannot be put right later: its
    partition count, its time stamps, or a record size smaller than what we write.
    """
    wanted = {names.name(topic): topic for topic in topics}
    found = await admin.describe(wanted)
    made: list[str] = []
    missing = {name: topic.config() for name, topic in wanted.items() if name not in found}
    if missing and create:
        made = await admin.create(missing, partitions=partitions, replication=replication)
        found = await admin.describe(wanted)
    settings = await admin.settings(found)
    problems: list[str] = []
    for name, topic in sorted(wanted.items()):
        state = found.get(name)
        if state is None:
            problems.append(f"{name} is missing; create it with: python -m cxloop_common.topics create")
        elif state.partitions != partitions:
            problems.append(
                f"{name} has {state.partitions} partitions, not {partitions}: another count would move keys; "
                f"set CXLOOP_PARTITIONS={state.partitions}"
            )
        else:
            problems += _differences(name, topic, settings.get(name, {}))
    if problems:
        raise TopicError("; ".join(problems))
    return made


def _differences(name: str, topic: Topic, settings: dict[str, str]) -> list[str]:
    problems: list[str] = []
    if settings.get("message.timestamp.type") != "LogAppendTime":
        problems.append(
            f"{name} needs message.timestamp.type=LogAppendTime, or late events are deleted unread"
        )
    if int(settings.get("max.message.bytes", topic.max_record_bytes)) < topic.max_record_bytes:
        problems.append(f"{name} needs max.message.bytes={topic.max_record_bytes} or more")
    return problems
