"""Apache Kafka and PostgreSQL as child processes, and the supervisor behind cxloop up."""

from cxloop_embedded.child import end_leftovers, last_lines
from cxloop_embedded.errors import EmbeddedError
from cxloop_embedded.folder import hold
from cxloop_embedded.jars import JarCache, read_lock
from cxloop_embedded.kafka import EmbeddedKafka
from cxloop_embedded.logs import LogStream, to_console
from cxloop_embedded.ports import LOOPBACK, StoredPorts, require
from cxloop_embedded.postgres import EmbeddedPostgres
from cxloop_embedded.supervision import ServiceSpec, ServiceState, ServiceStatus, Supervisor

__all__ = [
    "LOOPBACK",
    "EmbeddedError",
    "EmbeddedKafka",
    "EmbeddedPostgres",
    "JarCache",
    "LogStream",
    "ServiceSpec",
    "ServiceState",
    "ServiceStatus",
    "StoredPorts",
    "Supervisor",
    "end_leftovers",
    "hold",
    "last_lines",
    "read_lock",
    "require",
    "to_console",
]
