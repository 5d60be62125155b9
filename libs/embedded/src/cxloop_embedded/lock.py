"""Makes or checks the lock file of Kafka's jars: `python -m cxloop_embedded.lock --write | --check`.

Kafka's own dependencies are resolved alone, and its SLF4J binding (which a broker needs to log anything)
is added afterwards by name, without its dependencies: resolved together, the parent of Log4j would impose
its own versions, kafka-clients 3.9 among them.
"""

import argparse
import difflib
import sys
import tempfile
from pathlib import Path

from jgo.env import EnvironmentBuilder, LinkStrategy
from jgo.maven import MavenContext

from cxloop_embedded.jars import LOCK_NAME, repository_url, sha256_of

KAFKA_VERSION = "4.3.1"
"""4.4.0 cannot be resolved: its kafka-tools-api jar was never published."""

HEADER = """\
# Every jar of the embedded Kafka broker. Made by `python -m cxloop_embedded.lock --write`; do not edit.
# A download that does not match is refused. See jars.py.
"""


def resolve(version: str = KAFKA_VERSION) -> str:
    """Resolve Kafka and return the text of its lock file; needs the network, some 20 s."""
    with tempfile.TemporaryDirectory(prefix="cxloop-lock-") as name:
        folder = Path(name)
        context = MavenContext(repo_cache=folder / "repository", remote_repos={"central": repository_url()})
        builder = EnvironmentBuilder(
            context=context, cache_dir=folder / "environment", link_strategy=LinkStrategy.COPY
        )
        environment = builder.from_endpoint(f"org.apache.kafka:kafka_2.13:{version}")
        if environment.lockfile is None:
            raise RuntimeError(f"jgo resolved Kafka {version} without writing down what it found.")
        coordinates = [
            (entry.groupId, entry.artifactId, entry.version) for entry in environment.lockfile.dependencies
        ]
        logging = next(version for _, artifact, version in coordinates if artifact == "log4j-core")
        coordinates.append(("org.apache.logging.log4j", "log4j-slf4j-impl", logging))

        parts = [HEADER, f'kafka = "{version}"\n']
        for group, artifact, jar_version in sorted(coordinates):
            if group == "org.apache.kafka" and jar_version != version:
                raise RuntimeError(f"{artifact} {jar_version} would run beside Kafka {version}.")
            path = context.project(group, artifact).at_version(jar_version).artifact().resolve()
            parts.append(
                f'\n[[jar]]\ncoordinates = "{group}:{artifact}:{jar_version}"\n'
                f'size = {path.stat().st_size}\nsha256 = "{sha256_of(path)}"\n'
            )
    return "".join(parts)


def main() -> int:
    """Write or check the lock file; return 1 where a check finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m cxloop_embedded.lock", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="resolve again and write the lock file")
    action.add_argument("--check", action="store_true", help="resolve again and compare")
    arguments = parser.parse_args()
    path = Path(__file__).with_name(LOCK_NAME)
    resolved = resolve()
    if arguments.write:
        path.write_text(resolved, encoding="utf-8")
        sys.stdout.write(f"{path}: Kafka {KAFKA_VERSION}, {resolved.count('[[jar]]')} jars\n")
        return 0
    committed = path.read_text(encoding="utf-8")
    if committed == resolved:
        sys.stdout.write(f"{path} is what the repository serves\n")
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(
            committed.splitlines(keepends=True), resolved.splitlines(keepends=True), "committed", "resolved"
        )
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
