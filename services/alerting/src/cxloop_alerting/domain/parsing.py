"""`rules.yaml` and `routes.yaml` as text to a Configuration, or everything that is wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, cast, get_args

from cxloop_alerting.domain.configuration import (
    DEADLINES,
    SEVERITIES,
    Configuration,
    Deadlines,
    OwnerRef,
    Person,
    Pick,
    Route,
    Rule,
    Severity,
    Step,
    Team,
)
from cxloop_alerting.domain.matchers import Matcher, MatcherError, parse_matcher
from cxloop_common.configuration.reading import At, FaultyFilesError, Source, YamlReader
from cxloop_common.identifiers import derive_id
from cxloop_common.topics import ROUTE_NAME

OPEN_WITHIN: Final = timedelta(days=7)
REOPEN_WITHIN: Final = timedelta(days=14)
_RULE_KEYS: Final = ("id", "on", "when", "unless", "severity", "raise")
_ROUTE_KEYS: Final = ("name", "match", "owner", "chain", "deadlines", "continue", "copy", "routes")


def parse_configuration(rules: Source, routes: Source) -> Configuration:
    """Read both files. Raises FaultyFilesError with all problems of both."""
    rules_reader, routes_reader = YamlReader(rules.name), YamlReader(routes.name)
    parsed_rules = _Rules(rules_reader).read(rules.text)
    configuration = _Routes(routes_reader).read(routes.text)
    problems = rules_reader.problems + routes_reader.problems
    if problems or configuration is None:
        raise FaultyFilesError(problems)
    return replace(
        configuration,
        digest=derive_id(rules.text, routes.text),
        rules=tuple(parsed_rules.rules),
        open_within=parsed_rules.open_within,
        reopen_within=parsed_rules.reopen_within,
    )


def _matchers(reader: YamlReader, at: At) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    for item in reader.sequence(at):
        text = reader.text(item)
        if text is None:
            continue
        try:
            found.append(parse_matcher(text))
        except MatcherError as error:
            reader.complain(item, str(error))
    return tuple(found)


@dataclass
class _RulesFile:
    rules: list[Rule] = field(default_factory=list[Rule])
    open_within: timedelta = OPEN_WITHIN
    reopen_within: timedelta = REOPEN_WITHIN


@dataclass
class _Rules:
    reader: YamlReader

    def read(self, text: str) -> _RulesFile:
        result = _RulesFile()
        root = self.reader.document(text)
        if root is None:
            return result
        entries = self.reader.mapping(root, ("open_within", "reopen_within", "rules"))
        if "open_within" in entries:
            result.open_within = self.reader.duration(entries["open_within"]) or OPEN_WITHIN
        if "reopen_within" in entries:
            result.reopen_within = self.reader.duration(entries["reopen_within"]) or REOPEN_WITHIN
        if not self.reader.require(root, entries, "rules"):
            return result
        seen: set[str] = set()
        for item in self.reader.sequence(entries["rules"]):
            rule = self._rule(item)
            if rule is None:
                continue
            if rule.id in seen:
                self.reader.complain(item, f"two rules have the id {rule.id}")
            seen.add(rule.id)
            result.rules.append(rule)
        if not result.rules and not self.reader.problems:
            self.reader.complain(entries["rules"], "there is no rule, so nothing would ever open a case")
        return result

    def _rule(self, at: At) -> Rule | None:
        entries = self.reader.mapping(at, _RULE_KEYS)
        if not self.reader.require(at, entries, "id", "when"):
            return None
        rule_id = self.reader.text(entries["id"])
        if rule_id is not None and not ROUTE_NAME.fullmatch(rule_id):
            self.reader.complain(
                entries["id"], "an id has 1 to 63 lower-case letters, digits or dashes, and no dash in front"
            )
        if "on" in entries:
            self.reader.choice(entries["on"], ("score",), "kind of event")
        when = _matchers(self.reader, entries["when"])
        if not when and not self.reader.problems:
            self.reader.complain(entries["when"], "a rule without matchers would open a case for every score")
        unless = _matchers(self.reader, entries["unless"]) if "unless" in entries else ()
        severity: Severity | None = "medium"
        if "severity" in entries:
            severity = self.reader.choice(entries["severity"], SEVERITIES, "severity")
        raises: list[tuple[Severity, tuple[Matcher, ...]]] = []
        if "raise" in entries:
            for name, value in self.reader.mapping(entries["raise"], SEVERITIES).items():
                raises.append((cast("Severity", name), _matchers(self.reader, value)))
        return Rule(rule_id or "", when, unless, severity or "medium", tuple(raises))


@dataclass(frozen=True)
class _Inherited:
    """What a route takes from above where it says nothing itself."""

    name: str
    owner: OwnerRef
    step: Step
    deadlines: Deadlines


@dataclass
class _Routes:
    reader: YamlReader
    people: dict[str, Person] = field(default_factory=dict[str, Person])
    teams: dict[str, Team] = field(default_factory=dict[str, Team])
    chains: dict[str, Step] = field(default_factory=dict[str, Step])

    def read(self, text: str) -> Configuration | None:
        root = self.reader.document(text)
        if root is None:
            return None
        known = ("people", "teams", "chains", "root_causes", "fallback", "route")
        entries = self.reader.mapping(root, known)
        complete = self.reader.require(root, entries, "people", "fallback", "route")
        if "people" in entries:
            self.people = self._people(entries["people"])
        if "teams" in entries:
            self.teams = self._teams(entries["teams"])
        if "chains" in entries:
            self.chains = self._chains(entries["chains"])
        # A faulty part is replaced, so that one run finds what is wrong with the others too.
        fallback = self.owner(entries["fallback"]) if "fallback" in entries else None
        if fallback is not None and fallback.kind != "person":
            self.reader.complain(entries["fallback"], "the fallback is a person: person:<id>")
        fallback = fallback or OwnerRef("person", "")
        inherited = _Inherited("default", fallback, Step("notify", fallback), Deadlines())
        route = self._route(entries["route"], inherited, is_root=True) if "route" in entries else None
        if route is None or not complete:
            return None
        return Configuration(
            digest="",
            rules=(),
            route=route,
            fallback=fallback,
            people=self.people,
            teams=self.teams,
            open_within=OPEN_WITHIN,
            reopen_within=REOPEN_WITHIN,
            root_causes=self._root_causes(entries["root_causes"]) if "root_causes" in entries else {},
        )

    def owner(self, at: At) -> OwnerRef | None:
        """Return the `person:<id>` or `team:<id>` that is written here, if there is one of that name."""
        text = self.reader.text(at)
        if text is None:
            return None
        kind, colon, name = text.partition(":")
        known: Mapping[str, object]
        if kind == "person" and colon:
            known = self.people
        elif kind == "team" and colon:
            known = self.teams
        else:
            self.reader.complain(at, "expected person:<id> or team:<id>")
            return None
        if name not in known:
            self.reader.complain_of_name(at, name, kind, known)
            return None
        return OwnerRef("person" if kind == "person" else "team", name)

    def _people(self, at: At) -> dict[str, Person]:
        people: dict[str, Person] = {}
        for name, value in self.reader.mapping(at).items():
            entries = self.reader.mapping(value, ("name",))
            shown = self.reader.text(entries["name"]) if "name" in entries else None
            people[name] = Person(name, shown or name)
        if not people and not self.reader.problems:
            self.reader.complain(at, "there is nobody who could own a case")
        return people

    def _teams(self, at: At) -> dict[str, Team]:
        teams: dict[str, Team] = {}
        for name, value in self.reader.mapping(at).items():
            entries = self.reader.mapping(value, ("name", "members", "pick"))
            if not self.reader.require(value, entries, "members"):
                continue
            members: list[str] = []
            for item in self.reader.sequence(entries["members"]):
                member = self.reader.text(item)
                if member is not None and member not in self.people:
                    self.reader.complain_of_name(item, member, "person", self.people)
                elif member in members:
                    self.reader.complain(item, "this member stands twice")
                elif member is not None:
                    members.append(member)
            if not members and not self.reader.problems:
                self.reader.complain(entries["members"], "a team without members can own nothing")
            pick: Pick = "round_robin"
            if "pick" in entries:
                pick = self.reader.choice(entries["pick"], get_args(Pick), "way to pick") or pick
            shown = self.reader.text(entries["name"]) if "name" in entries else None
            teams[name] = Team(name, shown or name, tuple(members), pick)
        return teams

    def _chains(self, at: At) -> dict[str, Step]:
        chains: dict[str, Step] = {}
        for name, value in self.reader.mapping(at).items():
            steps = self.reader.sequence(value)
            if len(steps) != 1:
                self.reader.complain(value, "a chain has one step: [{hand_over: team:<id>}]")
            for item in steps[:1]:
                step = self._step(item)
                if step is not None:
                    chains[name] = step
        return chains

    def _step(self, at: At) -> Step | None:
        entries = self.reader.mapping(at, ("wait", "notify", "hand_over"))
        wait = self.reader.duration(entries["wait"]) if "wait" in entries else None
        if ("notify" in entries) == ("hand_over" in entries):
            self.reader.complain(at, "a step says either notify: or hand_over:")
            return None
        action = "notify" if "notify" in entries else "hand_over"
        target = self.owner(entries[action])
        return Step(action, target, wait or timedelta(0)) if target is not None else None

    def _root_causes(self, at: At) -> dict[str, tuple[str, ...]]:
        return {
            name: tuple(
                text for item in self.reader.sequence(value) if (text := self.reader.text(item)) is not None
            )
            for name, value in self.reader.mapping(at).items()
        }

    def _route(self, at: At, above: _Inherited, *, is_root: bool = False) -> Route:
        if self.reader.is_too_deep(at):
            return Route(above.name, (), above.owner, above.step, above.deadlines)
        entries = self.reader.mapping(at, _ROUTE_KEYS)
        own = self._options(entries, above)
        matchers = _matchers(self.reader, entries["match"]) if "match" in entries else ()
        go_on = "continue" in entries and self.reader.boolean(entries["continue"])
        copy = "copy" in entries and self.reader.boolean(entries["copy"])
        if is_root:
            for name in ("match", "continue", "copy"):
                if name in entries:
                    self.reader.complain(
                        entries[name], f"the root route matches everything and takes no {name}"
                    )
        children: list[Route] = []
        closed = False
        for item in self.reader.sequence(entries["routes"]) if "routes" in entries else []:
            if closed:
                self.reader.complain(
                    item, "unreachable: a route before it matches everything and does not continue"
                )
            child = self._route(item, own)
            children.append(child)
            closed = closed or (not child.matchers and not child.go_on)
        return Route(own.name, matchers, own.owner, own.step, own.deadlines, go_on, copy, tuple(children))

    def _options(self, entries: Mapping[str, At], above: _Inherited) -> _Inherited:
        own = above
        if "name" in entries:
            name = self.reader.text(entries["name"])
            if name is not None and not ROUTE_NAME.fullmatch(name):
                self.reader.complain(
                    entries["name"],
                    "a route's name is part of a topic's: 1 to 63 lower-case letters, digits or dashes",
                )
            own = replace(own, name=name or above.name)
        if "owner" in entries:
            own = replace(own, owner=self.owner(entries["owner"]) or above.owner)
        if "chain" in entries:
            chain = self.reader.text(entries["chain"])
            if chain is not None and chain not in self.chains:
                self.reader.complain_of_name(entries["chain"], chain, "chain", self.chains)
            own = replace(own, step=self.chains.get(chain or "", above.step))
        if "deadlines" in entries:
            # Key by key: a child that shortens one deadline keeps the others.
            found = {
                name: duration
                for name, value in self.reader.mapping(entries["deadlines"], DEADLINES).items()
                if (duration := self.reader.duration(value)) is not None
            }
            own = replace(own, deadlines=replace(own.deadlines, **found))
        return own
