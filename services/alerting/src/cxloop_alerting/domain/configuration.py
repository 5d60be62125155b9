"""The configuration in force: rules that open cases, and the tree that finds each case an owner."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args

from cxloop_alerting.domain.matchers import Matcher

Severity = Literal["low", "medium", "high", "urgent"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From least to most."""
Pick = Literal["round_robin", "least_loaded"]
DEADLINES = ("acknowledge", "contact", "resolve")


@dataclass(frozen=True, slots=True)
class Rule:
    """Opens a case for a score that satisfies all of `when` and none of `unless`."""

    id: str
    when: tuple[Matcher, ...]
    unless: tuple[Matcher, ...] = ()
    severity: Severity = "medium"
    raises: tuple[tuple[Severity, tuple[Matcher, ...]], ...] = ()
    """Severities that any one of their matchers raises a case to."""


@dataclass(frozen=True, slots=True)
class OwnerRef:
    """A person or a team, as `person:<id>` or `team:<id>`."""

    kind: Literal["person", "team"]
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can own cases."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Team:
    """People who share cases; `pick` says who gets the next one."""

    id: str
    name: str
    members: tuple[str, ...]
    pick: Pick = "round_robin"


@dataclass(frozen=True, slots=True)
class Step:
    """What happens when a case is not acknowledged in time: `wait` after the deadline, tell or hand over."""

    action: Literal["notify", "hand_over"]
    target: OwnerRef
    wait: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Time from a case's first sight to acknowledgement, contact and resolution; None sets none."""

    acknowledge: timedelta | None = None
    contact: timedelta | None = None
    resolve: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A node of the routing tree, with everything it inherits filled in."""

    name: str
    matchers: tuple[Matcher, ...]
    owner: OwnerRef
    step: Step
    deadlines: Deadlines
    go_on: bool = False
    """`continue`: later siblings are tried too."""
    copy: bool = False
    """Told of the case, never its owner."""
    routes: tuple["Route", ...] = ()

    def walk(self) -> Iterator["Route"]:
        """Yield this node and all below it, in the tree's order."""
        yield self
        for route in self.routes:
            yield from route.walk()


@dataclass(frozen=True, slots=True)
class Configuration:
    """Rules and routes as one valid whole."""

    digest: str
    rules: tuple[Rule, ...]
    route: Route
    fallback: OwnerRef
    people: Mapping[str, Person]
    teams: Mapping[str, Team]
    open_within: timedelta
    reopen_within: timedelta
    root_causes: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Category to causes; empty accepts any root cause."""

    def rule(self, rule_id: str) -> Rule | None:
        """Return the rule of this id."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)

    def route_names(self) -> tuple[str, ...]:
        """Return the distinct names of routes, in the tree's order."""
        return tuple(dict.fromkeys(route.name for route in self.route.walk()))

    def find_route(self, name: str) -> Route:
        """Return the first route of this name; the root answers for a name that is gone."""
        return next((route for route in self.route.walk() if route.name == name), self.route)

    def name_of(self, ref: OwnerRef) -> str:
        """Return the display name of a person or team."""
        named = (self.people if ref.kind == "person" else self.teams).get(ref.id)
        return named.name if named else ref.id


class Configurations:
    """All configurations that were ever in force, by time: an event is judged by that of its own time.

    The earliest one covers everything before it as well.
    """

    def __init__(self, since: Sequence[tuple[datetime, Configuration]]) -> None:
        """Take pairs of start and configuration, in any order, at least one."""
        ordered = sorted(since, key=lambda entry: (entry[0], entry[1].digest))
        if not ordered:
            raise ValueError("there is no configuration to judge events by")
        self._starts = [start for start, _ in ordered]
        self._held = [configuration for _, configuration in ordered]
        self._by_digest = {configuration.digest: configuration for configuration in self._held}

    def at(self, time: datetime) -> Configuration:
        """Return the configuration in force at `time`."""
        return self._held[max(0, bisect_right(self._starts, time) - 1)]

    @property
    def latest(self) -> Configuration:
        """The configuration that judges what happens from now on."""
        return self._held[-1]

    def by_digest(self, digest: str) -> Configuration:
        """Return the configuration of a case. Raises KeyError for one that was never in force."""
        return self._by_digest[digest]

    def __len__(self) -> int:
        return len(self._held)
