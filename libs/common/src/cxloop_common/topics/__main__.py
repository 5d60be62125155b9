"""`python -m cxloop_common.topics create`: make the registry's topics on a broker, or check them."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from cxloop_common.kafka.admin import Admin
from cxloop_common.kafka.errors import KafkaError
from cxloop_common.topics import DEFAULT_PARTITIONS, TOPICS, TopicNames
from cxloop_common.topics.provision import ensure_topics


async def _create(bootstrap: str, names: TopicNames, partitions: int, replication: int) -> list[str]:
    async with Admin(bootstrap) as admin:
        return await ensure_topics(admin, TOPICS, names, partitions=partitions, replication=replication)


def main(arguments: Sequence[str] | None = None) -> int:
    """Create the registry's topics on a broker, or check them; 0 if all are right, 1 if not."""
    parser = argparse.ArgumentParser(
        prog="python -m cxloop_common.topics",
        description="Create the topics of CX Loop where they are missing, and check those that exist.",
        epilog="Example: CXLOOP_KAFKA_BOOTSTRAP=127.0.0.1:9092 python -m cxloop_common.topics create --partitions 12",
    )
    parser.add_argument("command", choices=["create"])
    parser.add_argument("--bootstrap", default=os.environ.get("CXLOOP_KAFKA_BOOTSTRAP", "127.0.0.1:9092"))
    partitions = int(os.environ.get("CXLOOP_PARTITIONS", DEFAULT_PARTITIONS))
    parser.add_argument("--partitions", type=int, default=partitions)
    parser.add_argument(
        "--replication", type=int, default=int(os.environ.get("CXLOOP_REPLICATION_FACTOR", "1"))
    )
    parser.add_argument("--prefix", default=os.environ.get("CXLOOP_TOPIC_PREFIX", ""))
    options = parser.parse_args(arguments)
    try:
        names = TopicNames(options.prefix)
        made = asyncio.run(_create(options.bootstrap, names, options.partitions, options.replication))
    except KafkaError as error:
        print(f"topics: {error}", file=sys.stderr)  # noqa: T201  # a command's answer
        return 1
    print(f"topics: {len(made)} created, {len(TOPICS) - len(made)} there already")  # noqa: T201  # as above
    return 0


if __name__ == "__main__":
    sys.exit(main())
