import os
import socket
from pathlib import Path

import pytest

from cxloop_embedded.errors import NoFreePortError, PortInUseError
from cxloop_embedded.ports import StoredPorts, choose, is_free, require


def listen() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen(1)
    return taken


def test_a_port_stays_the_same_while_it_is_free_and_changes_when_it_is_not(tmp_path: Path) -> None:
    ports = StoredPorts(tmp_path / "ports.json")
    first = ports.pick("kafka")
    assert StoredPorts(tmp_path / "ports.json").pick("kafka") == first
    with socket.socket() as other:
        other.bind(("127.0.0.1", first))
        other.listen(1)
        assert ports.pick("kafka") != first


def test_two_purposes_never_share_a_port(tmp_path: Path) -> None:
    ports = StoredPorts(tmp_path / "ports.json")
    few = range(choose(purpose="a test"), 32_000)[:40]
    assert ports.pick("kafka", among=few) != ports.pick("controller", among=few)


def test_a_damaged_file_of_ports_costs_new_ports_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("{not json", encoding="utf-8")
    assert is_free(StoredPorts(tmp_path / "ports.json").pick("kafka"))


def test_when_no_port_is_left_the_error_names_the_range() -> None:
    with listen() as taken:
        port = int(taken.getsockname()[1])
        with pytest.raises(NoFreePortError, match=f"for Kafka: {port} to {port}"):
            choose(purpose="Kafka", among=range(port, port + 1))


def test_a_port_in_use_is_reported_with_its_owner_and_a_way_out() -> None:
    with listen() as taken:
        port = int(taken.getsockname()[1])
        with pytest.raises(PortInUseError, match=f"Port {port} .*ingest") as raised:
            require(port, purpose="ingest", hint="Use --port-base.")
    assert f"pid {os.getpid()}" in str(raised.value)
    assert "Use --port-base." in str(raised.value)
