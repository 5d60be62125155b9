"""Questions put to the service over HTTP and to the oracle, and what differs."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from .asked import Asked
from .comparing import differences, disagreements
from .drawing import NOW
from .folding import difference, expected
from .known import Known
from .metrics import DEFINITIONS, Definition
from .rows import micros, moment
from .world import World

NOT_TAKEN_APART = frozenset({"recovery_lift", "revenue_at_risk"})
"""Metrics that are no sums of parts."""
LENGTHS = {"30d": 30, "7d": 7, "90d": 90, "1d": 1}


async def same_ledger(world: World, known: Known) -> None:
    """Compare the net ledger, row by row."""
    found = await world.worker.net_ledger()
    service = {tuple(key[:7]): times for key, times in found.items()}
    oracle = {(*key[:4], moment(key[4]), *key[5:]): times for key, times in expected(known.rows).items()}
    assert not (text := difference(Counter(service), Counter(oracle))), text


class Asking:
    """The same questions to the service and to the oracle."""

    def __init__(
        self, world: World, known: Known, at: datetime, length: str, as_of: datetime | None = None
    ) -> None:
        self.world = world
        self.known = known
        self.parameters: dict[str, Any] = {"at": at.isoformat(), "window": length}
        if as_of is not None:
            self.parameters["as_of"] = as_of.isoformat()
        since = at - timedelta(days=LENGTHS[length])
        self.asked = Asked(micros(since), micros(at), micros(as_of or NOW))
        self.label = f"{at:%m-%dT%H:%M} {length}{' as of' if as_of else ''}"

    async def scorecard(self, where: tuple[tuple[str, str], ...] = ()) -> list[str]:
        """All metrics over the window."""
        found = await self.world.get("/v1/scorecard", **self.parameters, where=_written(where))
        asked = self._with(where)
        values = {one["metric"]: one for kind in ("service", "experience", "outcome") for one in found[kind]}
        assert values.keys() == DEFINITIONS.keys()
        return [
            line
            for name, definition in DEFINITIONS.items()
            for line in self._compared(name, values[name], asked, definition)
        ]

    async def groups(self, by: str, where: tuple[tuple[str, str], ...] = ()) -> list[str]:
        """All metrics by the values of a dimension."""
        wrong: list[str] = []
        for name, definition in DEFINITIONS.items():
            found = await self.world.get(
                f"/v1/metrics/{name}/groups", **self.parameters, where=_written(where), by=by
            )
            groups = {one["key"]: one for one in found["groups"]}
            keys = {
                value
                for row in self.known.of_metrics(*definition.metrics)
                for dimension, value in row.dimensions
                if dimension == by
            }
            for key in sorted(keys | groups.keys()):
                asked = self._with((*where, (by, key)))
                wanted = definition.of(self.known, asked)
                if key in groups:
                    wrong += self._compared(f"{name} of {key}", groups[key], asked, definition)
                elif wanted.n:
                    wrong.append(f"{self.label} {where}: {name} of {key} is missing: {wanted}")
        return wrong

    async def series(self) -> list[str]:
        """All metrics day by day."""
        wrong: list[str] = []
        for name, definition in DEFINITIONS.items():
            found = await self.world.get(f"/v1/metrics/{name}/series", **self.parameters, step="1d")
            for point in found["points"]:
                edges = [micros(datetime.fromisoformat(point[edge])) for edge in ("from", "to")]
                asked = Asked(edges[0], edges[1], self.asked.now)
                wrong += self._compared(f"{name} on {point['from']}", point, asked, definition)
        return wrong

    async def relationship(self, where: tuple[tuple[str, str], ...]) -> list[str]:
        """NPS by the latest response of each customer."""
        asked = Asked(self.asked.since, self.asked.until, self.asked.now, where, relationship=True)
        found = await self.world.get(
            "/v1/metrics/nps", **self.parameters, where=_written(where), population="relationship"
        )
        return list(self._compared("relationship nps", found, asked, DEFINITIONS["nps"]))

    async def compared(self, against: tuple[str, str] | None) -> list[str]:
        """All metrics beside a group of their own window, or beside the window before."""
        wrong: list[str] = []
        length = self.asked.until - self.asked.since
        other = replace(self.asked, since=self.asked.since - length, until=self.asked.since)
        compare = "previous"
        if against is not None:
            other, compare = self._with((against,)), ":".join(against)
        for name, definition in DEFINITIONS.items():
            if name in NOT_TAKEN_APART:
                continue
            found = await self.world.get(f"/v1/metrics/{name}", **self.parameters, compare=compare)
            values = definition.of(self.known, self.asked), definition.of(self.known, other)
            lines = differences(found["comparison"], *values, duration=definition.tolerant)
            wrong += [f"{self.label}: {name} against {compare}: {line}" for line in lines]
        return wrong

    async def drivers(self, by: str) -> list[str]:
        """All changes since the window before, whose parts must add up to them."""
        wrong: list[str] = []
        for name in DEFINITIONS.keys() - NOT_TAKEN_APART:
            found = await self.world.get(f"/v1/metrics/{name}/drivers", **self.parameters, by=by)
            if found["change"] is not None:
                parts = [*found["drivers"], *filter(None, [found["unattributed"]])]
                whole, sum_ = found["change"]["value"], sum(one["total"]["value"] for one in parts)
                if not math.isclose(whole, sum_, rel_tol=1e-9, abs_tol=1e-9):
                    wrong.append(f"{self.label}: {name} by {by}: parts add up to {sum_}, not {whole}")
        return wrong

    def _with(self, where: tuple[tuple[str, str], ...]) -> Asked:
        return Asked(self.asked.since, self.asked.until, self.asked.now, where)

    def _compared(
        self, name: str, found: Mapping[str, Any], asked: Asked, definition: Definition
    ) -> Iterator[str]:
        wanted = definition.of(self.known, asked)
        for line in disagreements(found, wanted, duration=definition.tolerant):
            yield f"{self.label} {asked.where}: {name}: {line}"


def _written(where: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"{name}:{value}" for name, value in where]
