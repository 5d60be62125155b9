"""The peer for scoring: Quix Streams counting records in tumbling windows of 60 s, by the key of the record.

Its state store with changelog, output topic and at-least-once checkpoints are as it ships them.
`python -m bench.quix_peer BOOTSTRAP TOPIC GROUP RECORDS STATE_DIR` ends when that many records are
processed and committed, and prints `COMMITTED <monotonic seconds> <windows written>`.
"""

import sys
import time

from quixstreams import Application
from quixstreams.dataframe.windows import Count
from quixstreams.models import TopicConfig

WINDOW_MS = 60_000
GRACE_MS = 60_000


def main(bootstrap: str, topic: str, group: str, records: int, state_dir: str) -> None:
    """Count until everything is committed."""
    application = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        state_dir=state_dir,
        loglevel="ERROR",
    )
    counted = application.topic(topic, key_deserializer="str", value_deserializer="json")
    written = application.topic(
        f"{topic}-counts",
        value_serializer="json",
        config=TopicConfig(num_partitions=6, replication_factor=1),
    )
    windows = 0

    def note(_: object) -> None:
        nonlocal windows
        windows += 1

    frame = application.dataframe(counted)
    frame = frame.tumbling_window(WINDOW_MS, grace_ms=GRACE_MS).agg(count=Count()).final()
    frame = frame.update(note).to_topic(written)
    application.run(count=records)
    print(f"COMMITTED {time.monotonic()} {windows}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
