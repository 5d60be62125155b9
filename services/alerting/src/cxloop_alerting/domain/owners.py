"""Choosing who gets a case. Choices depend on arrival and load, so each is logged and never made again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cxloop_alerting.domain.case import Case, CaseOwner
from cxloop_alerting.domain.configuration import Configuration, OwnerRef, Team
from cxloop_alerting.domain.facts import LogEntry, LogKind
from cxloop_common.identifiers import derive_id

OPENED = "opened"


@dataclass
class Workload:
    """What is known of people's work when choices are made; counts its own choices as they are made."""

    last_picked: dict[str, str] = field(default_factory=dict[str, str])
    """Team to the member who got its latest case."""
    open_cases: dict[str, int] = field(default_factory=dict[str, int])
    """Person to the number of unclosed cases."""

    def pick(self, team: Team) -> str:
        """Choose a member, and count the choice."""
        if team.pick == "least_loaded":
            member = min(
                team.members, key=lambda name: (self.open_cases.get(name, 0), team.members.index(name))
            )
        else:
            member = _after(team.members, self.last_picked.get(team.id))
        self.last_picked[team.id] = member
        self.open_cases[member] = self.open_cases.get(member, 0) + 1
        return member

    def choose(self, configuration: Configuration, ref: OwnerRef) -> CaseOwner:
        """Turn a configured owner into the person who answers."""
        if ref.kind == "person" or ref.id not in configuration.teams:
            return CaseOwner(ref.kind, ref.id, configuration.name_of(ref))
        member = self.pick(configuration.teams[ref.id])
        return CaseOwner("person", member, configuration.name_of(OwnerRef("person", member)), ref.id)


def teams_asked(cases: Sequence[Case]) -> set[str]:
    """Return the teams that `assignments` would pick from."""
    teams: set[str] = set()
    for case in cases:
        refs = [case.route.owner] if not case.is_assigned else []
        if case.wants_hand_over is not None:
            refs.append(read_ref(case.wants_hand_over.body["target"]))
        teams.update(ref.id for ref in refs if ref.kind == "team")
    return teams


def assignments(cases: Sequence[Case], workload: Workload, now: datetime) -> list[LogEntry]:
    """Return the log entries that give each new or handed-over case its owner, in the order of case ids."""
    entries: list[LogEntry] = []
    for case in sorted(cases, key=lambda case: case.id):
        if not case.is_assigned:
            entries.append(_entry(case, OPENED, workload.choose(case.configuration, case.route.owner), now))
        if case.wants_hand_over is not None:
            ref = read_ref(case.wants_hand_over.body["target"])
            owner = workload.choose(case.configuration, ref)
            entries.append(_entry(case, case.wants_hand_over.id, owner, now))
    return entries


def read_ref(text: str) -> OwnerRef:
    """Read `person:<id>` or `team:<id>`. Raises ValueError for anything else."""
    kind, _, name = text.partition(":")
    if kind == "person":
        return OwnerRef("person", name)
    if kind == "team":
        return OwnerRef("team", name)
    raise ValueError("an owner is person:<id> or team:<id>")


def _entry(case: Case, cause: str, owner: CaseOwner, now: datetime) -> LogEntry:
    head = case.triggers[0]
    body = {
        "cause": cause,
        "owner": owner.as_body(),
        "route": case.route.name,
        "copies": list(case.copies),
        "config": case.configuration.digest,
    }
    return LogEntry(
        derive_id("assigned", head.id, cause),
        LogKind.ASSIGNED,
        head.id,
        head.fact.document,
        case.rule,
        now,
        0,
        body=body,
    )


def _after(members: Sequence[str], last: str | None) -> str:
    return members[(members.index(last) + 1) % len(members)] if last in members else members[0]
