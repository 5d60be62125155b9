"""The peer for scoring: Quix Streams counting records in tumbling windows of 60 s, by the key of the record.

Its state store with changelog, output topic and at-least-once checkpoints are as it ships them.
`python -m bench.quix_peer BOOTSTRAP TOPIC RECORDS STATE_DIR` ends when that many records are processed and
committed, and prints `COMMITTED`, when it had its first record, when its last checkpoint was committed (both
monotonic seconds), and how many windows it wrote.
"""

import importlib
import sys
import time
from typing import Any

# It is installed for benchmarks alone, and its types are partly unknown.
_quix: Any = importlib.import_module("quixstreams")
_windows: Any = importlib.import_module("quixstreams.dataframe.windows")
_models: Any = importlib.import_module("quixstreams.models")

WINDOW_MS = 60_000
GRACE_MS = 60_000
PARTITIONS = 6


class _TimedApplication(_quix.Application):
    """Notes when the last checkpoint was committed; closing clients afterwards is not part of the work."""

    committed_at = 0.0

    def _run_dataframe(self, sink: Any = None) -> None:
        super()._run_dataframe(sink)  # pyright: ignore[reportUnknownMemberType] as the library has it
        self.committed_at = time.monotonic()


def main(bootstrap: str, topic: str, records: int, state_dir: str) -> None:
    """Count until everything is committed."""
    processed = windows = 0
    began = 0.0

    def count(*_: object) -> None:
        nonlocal processed, began
        processed += 1
        if processed == 1:
            began = time.monotonic()
        elif processed == records:
            application.stop()

    def note(_: object) -> None:
        nonlocal windows
        windows += 1

    application = _TimedApplication(
        broker_address=bootstrap,
        consumer_group=topic,
        auto_offset_reset="earliest",
        state_dir=state_dir,
        loglevel="ERROR",
        on_message_processed=count,
    )
    counted = application.topic(topic, key_deserializer="str", value_deserializer="json")
    written = application.topic(
        f"{topic}-counts",
        value_serializer="json",
        config=_models.TopicConfig(num_partitions=PARTITIONS, replication_factor=1),
    )
    frame = application.dataframe(counted)
    frame = frame.tumbling_window(WINDOW_MS, grace_ms=GRACE_MS).agg(count=_windows.Count()).final()
    frame.update(note).to_topic(written)
    application.run()
    print(f"COMMITTED {began} {application.committed_at} {windows}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
