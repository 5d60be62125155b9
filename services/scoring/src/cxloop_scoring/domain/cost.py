"""Cost: what contacts took, and what of it was avoidable; whole hundredths of the configured currency."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cxloop_scoring.domain.rules import Costs

_MS_AN_HOUR: Final = 3_600_000


class ContactCount(NamedTuple):
    """Contacts of one group, channel and contact type, and how many of them were repeated."""

    group: str | None
    channel: str | None
    contact_type: str | None
    contacts: int
    repeated: int


class Handled(NamedTuple):
    """Reported work on the tickets of one group and channel, in milliseconds."""

    group: str | None
    channel: str | None
    worked_ms: int


@dataclass(slots=True)
class CostLine:
    """Counts and amounts of one group and channel; amounts are None where their rate is not configured."""

    group: str | None
    channel: str | None
    contacts: int = 0
    repeated: int = 0
    avoidable: int = 0
    avoidable_types: dict[str, int] = field(default_factory=dict[str, int])
    worked_ms: int = 0
    contact_cost: int | None = None
    repeated_cost: int | None = None
    avoidable_cost: int | None = None
    """Of contacts whose type is configured as avoidable; a repeated one of them is in both amounts."""
    handle_cost: int | None = None


def hourly(worked_ms: int, per_hour: int) -> int:
    """Give what work costs at a rate, half to even."""
    whole, rest = divmod(worked_ms * per_hour, _MS_AN_HOUR)
    return whole + (2 * rest > _MS_AN_HOUR or (2 * rest == _MS_AN_HOUR and whole % 2 == 1))


def cost_lines(contacts: Iterable[ContactCount], handled: Iterable[Handled], costs: Costs) -> list[CostLine]:
    """Cost contacts and work by group and channel, in this order; unknown ones stand first.

    Contacts of a channel without a rate of its own cost the general rate.
    """
    lines: dict[tuple[str | None, str | None], CostLine] = {}

    def line(group: str | None, channel: str | None) -> CostLine:
        return lines.setdefault((group, channel), CostLine(group, channel))

    for count in contacts:
        found = line(count.group, count.channel)
        found.contacts += count.contacts
        found.repeated += count.repeated
        kind = count.contact_type
        if kind is not None and kind in costs.avoidable:
            found.avoidable += count.contacts
            found.avoidable_types[kind] = found.avoidable_types.get(kind, 0) + count.contacts
    for work in handled:
        line(work.group, work.channel).worked_ms += work.worked_ms
    for found in lines.values():
        rate = costs.contact(found.channel)
        if rate is not None:
            found.contact_cost = found.contacts * rate
            found.repeated_cost = found.repeated * rate
            found.avoidable_cost = found.avoidable * rate
        if costs.per_hour is not None:
            found.handle_cost = hourly(found.worked_ms, costs.per_hour)
    return sorted(lines.values(), key=_place)


def total(lines: Iterable[CostLine]) -> Mapping[str, int | None]:
    """Add amounts up; None where no line has one."""
    names = ("contact_cost", "repeated_cost", "avoidable_cost", "handle_cost")
    added: dict[str, int | None] = dict.fromkeys(names)
    for line in lines:
        for name in names:
            amount: int | None = getattr(line, name)
            if amount is not None:
                added[name] = (added[name] or 0) + amount
    return added


def _place(line: CostLine) -> tuple[bool, str, bool, str]:
    return line.group is not None, line.group or "", line.channel is not None, line.channel or ""
