import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil
import pytest
from embedded_harness import eventually, gone, write_script

from cxloop_embedded import EmbeddedKafka, JarCache
from cxloop_embedded.errors import FolderInUseError, KafkaStartError, NotRunningError, PortInUseError
from cxloop_embedded.kafka import answers

# Written in C, without types.
client: Any = importlib.import_module("confluent_kafka")
admin: Any = importlib.import_module("confluent_kafka.admin")


@pytest.fixture(scope="module")
def kafka(jars: JarCache, tmp_path_factory: pytest.TempPathFactory) -> Generator[EmbeddedKafka, None, None]:
    """One broker for the tests that leave it as they found it."""
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka"), jars=jars) as broker:
        yield broker


def port_of(broker: EmbeddedKafka) -> int:
    return int(broker.bootstrap.rpartition(":")[2])


def create(broker: EmbeddedKafka, topic: str) -> None:
    connection = admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    connection.create_topics([admin.NewTopic(topic, 1, 1)])[topic].result(20)


def write(broker: EmbeddedKafka, topic: str, value: bytes) -> None:
    producer = client.Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"})
    producer.produce(topic, value)
    assert producer.flush(20) == 0


def read_first(broker: EmbeddedKafka, topic: str) -> bytes | None:
    consumer = client.Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": "test", "enable.auto.commit": False}
    )
    try:
        consumer.assign([client.TopicPartition(topic, 0, 0)])
        message = consumer.poll(20)
        return None if message is None else message.value()
    finally:
        consumer.close()


def test_an_acknowledged_record_survives_sigkill_at_the_same_address(kafka: EmbeddedKafka) -> None:
    create(kafka, "survivors")
    write(kafka, "survivors", b"still here")
    address, pid = kafka.bootstrap, kafka.pid
    kafka.kill()
    assert gone(pid)
    with pytest.raises(NotRunningError):
        _ = kafka.pid
    assert kafka.restart() == address
    assert read_first(kafka, "survivors") == b"still here"


def test_a_suspended_broker_answers_nothing_until_it_is_resumed(kafka: EmbeddedKafka) -> None:
    kafka.suspend()
    assert not answers(port_of(kafka), timeout_s=0.3)
    kafka.resume()
    assert eventually(lambda: answers(port_of(kafka)))


def test_the_broker_listens_on_the_loopback_address_alone(kafka: EmbeddedKafka) -> None:
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(kafka.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_a_second_broker_on_the_same_folder_is_refused_naming_the_first(
    kafka: EmbeddedKafka, jars: JarCache
) -> None:
    with pytest.raises(FolderInUseError, match=f"process {os.getpid()}"):
        EmbeddedKafka(kafka.data_dir, jars=jars).start()
    assert answers(port_of(kafka))


def test_a_port_that_is_taken_is_named_before_anything_is_started(
    kafka: EmbeddedKafka, jars: JarCache, tmp_path: Path
) -> None:
    with pytest.raises(PortInUseError, match=f"Port {port_of(kafka)} .* java "):
        EmbeddedKafka(tmp_path, port=port_of(kafka), jars=jars).start()


def test_a_broker_that_dies_at_start_shows_the_end_of_its_log(jars: JarCache, tmp_path: Path) -> None:
    broker = EmbeddedKafka(tmp_path, jars=jars)
    broker.start()
    broker.stop()
    (tmp_path / "data" / "meta.properties").write_text(
        "version=1\ncluster.id=x\nnode.id=99\n", encoding="utf-8"
    )
    with pytest.raises(KafkaStartError, match="ended while it was starting") as raised:
        broker.start()
    assert "meta.properties" in str(raised.value)
    assert "\tat " not in str(raised.value)
    assert not broker.running


def test_a_broken_setting_is_named_when_the_folder_is_made(jars: JarCache, tmp_path: Path) -> None:
    broker = EmbeddedKafka(tmp_path, jars=jars, settings={"log.retention.ms": "for ever"})
    with pytest.raises(KafkaStartError, match=r"log\.retention\.ms"):
        broker.start()
    assert not (tmp_path / "formatted").exists()


def test_what_a_killed_run_left_is_replaced_and_its_data_kept(jars: JarCache, tmp_path: Path) -> None:
    script = write_script(
        tmp_path,
        "owner.py",
        "import sys, time\nfrom pathlib import Path\nfrom cxloop_embedded import EmbeddedKafka\n"
        f"kafka = EmbeddedKafka(Path({str(tmp_path / 'kafka')!r}))\nkafka.start()\n"
        "print(kafka.bootstrap, kafka.pid, flush=True)\ntime.sleep(600)\n",
    )
    owner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)  # noqa: S603 ours
    assert owner.stdout is not None
    address, pid = owner.stdout.readline().split()
    os.kill(int(pid), signal.SIGSTOP)  # so that it cannot end by itself
    owner.kill()
    owner.communicate()
    with EmbeddedKafka(tmp_path / "kafka", jars=jars) as broker:
        assert broker.bootstrap == address
        assert gone(int(pid))
