"""Configurations in the database: what is in force, since when, for every replica alike."""

from datetime import datetime
from typing import Any

from cxloop_alerting.domain.configuration import Configuration, Configurations
from cxloop_alerting.domain.parsing import parse_configuration
from cxloop_common.configuration.reading import Source
from cxloop_common.identifiers import derive_id
from cxloop_common.telemetry import get_logger


class ConfigurationStore:
    """Writes this process's files as a configuration once, and reads all that were ever in force."""

    def __init__(self, rules: Source, routes: Source) -> None:
        self._rules = rules
        self._routes = routes
        self._digest = derive_id(rules.text, routes.text)
        self._parsed: dict[str, Configuration] = {}
        self._held: tuple[tuple[tuple[datetime, str], ...], Configurations] | None = None
        self._log = get_logger("cxloop.alerting.configuration")

    async def load(self, connection: Any, now: datetime) -> Configurations:
        """Return the configurations by time, this process's own among them.

        Files whose text was in force before and was superseded do not return by themselves: a replica that was
        deployed late must not turn back the others.
        """
        known = await self._read(connection)
        if all(digest != self._digest for _, digest in known):
            # At once by every replica that has the new files; the first one's time counts.
            await connection.execute(
                "INSERT INTO configs (digest, since, rules, routes) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                self._digest,
                now,
                self._rules.text,
                self._routes.text,
            )
            known = await self._read(connection)
        if self._held is None or self._held[0] != known:
            self._held = known, await self._parse(connection, known)
            if known[-1][1] != self._digest:
                self._log.warning(
                    "configuration_superseded",
                    files=self._digest,
                    in_force=known[-1][1],
                    hint="a newer one is in force; change a comment in the files to bring theirs back",
                )
        return self._held[1]

    async def _read(self, connection: Any) -> tuple[tuple[datetime, str], ...]:
        rows = await connection.fetch("SELECT since, digest FROM configs ORDER BY since, digest")
        return tuple((row["since"], row["digest"]) for row in rows)

    async def _parse(self, connection: Any, known: tuple[tuple[datetime, str], ...]) -> Configurations:
        missing = [digest for _, digest in known if digest not in self._parsed]
        rows = await connection.fetch(
            "SELECT digest, rules, routes FROM configs WHERE digest = ANY($1::text[])", missing
        )
        for row in rows:
            self._parsed[row["digest"]] = parse_configuration(
                Source(f"configs/{row['digest']}/rules", row["rules"]),
                Source(f"configs/{row['digest']}/routes", row["routes"]),
            )
        return Configurations([(since, self._parsed[digest]) for since, digest in known])
