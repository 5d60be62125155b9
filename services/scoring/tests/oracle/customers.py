"""Touchpoints, journey records and alert records: what is known of customers and their cases."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from cxloop_common.events import AlertRecord, JourneyChanged, TouchpointRecorded, content_hash
from cxloop_common.events.cloudevents import event_data

from . import rows as r
from .configured import Configured
from .rows import Row, micros
from .standing import Fact

CLOSED = frozenset({"resolved", "recovered", "not_recovered", "unverified"})


def lifecycle_rows(document: str, facts: Sequence[Fact], configured: Configured) -> list[Row]:
    """Give the rows of one identifier's touchpoints: its first state, each change of it, and money."""
    customer = document.removeprefix("lifecycle:")
    found: list[Row] = []
    changes: dict[int, Row] = {}
    state: bool | None = None
    for at, _, event in facts:
        assert isinstance(event, TouchpointRecorded)
        said: dict[str, str | None] = {"source": event.source, **event.dimensions}
        fields = {"touchpoint": event.touchpoint, "stage": event.stage, "channel": event.channel}
        said.update({name: text for name, text in fields.items() if text is not None})
        active = _active(event.touchpoint, configured)
        if active is not None and active != state:
            # Of several changes at one moment the last one counts.
            changes[at] = Row(document, r.LIFECYCLE, int(active), None, at, customer, r.filed(said))
            state = active
        if event.value is not None:
            amount = Decimal(repr(event.value.amount)) * 100
            minor = int(amount.quantize(Decimal(1), ROUND_HALF_EVEN))
            dimensions = r.filed({**said, "currency": event.value.currency})
            found.append(Row(document, r.CUSTOMER_VALUE, minor, None, at, customer, dimensions))
    return found + _changes(changes.values())


def _changes(rows: Iterable[Row]) -> list[Row]:
    """Leave out what came back to the state before within one moment."""
    found: list[Row] = []
    for row in rows:
        if not found or found[-1].value != row.value:
            found.append(row)
    return found


def _active(touchpoint: str, configured: Configured) -> bool | None:
    name = touchpoint.lower()
    if name.startswith(configured.active_words):
        return True
    return False if name.startswith(configured.left_words) else None


def identities(records: Iterable[JourneyChanged]) -> Mapping[str, str]:
    """Give the customer of each identifier, from the record that has the highest version of it."""
    newest: dict[str, tuple[int, str]] = {}
    for record in records:
        for identifier in record.identifiers:
            claim = (identifier.version, record.customer_id)
            newest[identifier.id] = max(newest.get(identifier.id, claim), claim)
    return {identifier: customer for identifier, (_, customer) in newest.items()}


@dataclass(frozen=True)
class Case:
    """A case as its highest version has it."""

    id: str
    opened_at: int
    due_at: int | None
    closed_at: int | None
    contacted_at: int | None
    dimensions: frozenset[tuple[str, str]]
    triggers: frozenset[str]
    """Documents of the scores that any of its records names."""

    @property
    def document(self) -> str:
        """Name its document."""
        return f"case:{self.id}"

    def rows(self) -> list[Row]:
        """Give its three rows, all at its opening; values are milliseconds from there."""
        ends = {
            r.CASE_OPENED: self.due_at or self.opened_at,
            r.CASE_CLOSED: self.closed_at,
            r.CASE_CONTACTED: self.contacted_at,
        }
        return [
            Row(
                self.document,
                metric,
                max(0, at - self.opened_at) // 1000,
                None,
                self.opened_at,
                None,
                self.dimensions,
            )
            for metric, at in ends.items()
            if at is not None
        ]


def cases(records: Iterable[AlertRecord]) -> tuple[list[Case], frozenset[str]]:
    """Fold alert records; give all cases, and the ids of those that another one supersedes."""
    said: dict[str, dict[str, AlertRecord]] = {}
    for record in records:
        contents = said.setdefault(record.case_id, {})
        # Of two contents under one id the least stands, as of all events.
        contents[record.id] = min(contents.get(record.id, record), record, key=_content)
    superseded = frozenset(
        old for each in said.values() for record in each.values() for old in record.supersedes
    )
    return [_case(name, list(of_one.values())) for name, of_one in said.items()], superseded


def _content(record: AlertRecord) -> tuple[int, str]:
    return micros(record.time), content_hash(event_data(record))


def _case(name: str, records: list[AlertRecord]) -> Case:
    records = sorted(records, key=lambda one: (one.version, one.id))
    now = records[-1]
    opened_at = micros(records[0].at)
    # A closed case has no deadline ahead of it any more; it still had one. One that is not after the opening is none.
    dues = [micros(one.due_at) for one in records if one.due_at is not None]
    due_at = dues[-1] if dues and dues[-1] > opened_at else None
    closed_at: int | None = None
    for record in records:
        if record.status not in CLOSED:
            closed_at = None
        elif closed_at is None:
            closed_at = micros(record.at)
    contacts = [micros(one.at) for one in records if "contacted" in (one.status, one.change)]
    owner = {"team": "team", "person": "agent"}.get(now.owner.kind)
    said: dict[str, str | None] = {"rule": now.rule, "route": now.route, "severity": now.severity}
    if owner is not None:
        said[owner] = now.owner.id
    return Case(
        name,
        opened_at,
        due_at,
        # Questions know these times from durations, which are never negative.
        None if closed_at is None else max(closed_at, opened_at),
        max(min(contacts), opened_at) if contacts else None,
        r.filed(said),
        frozenset(
            document
            for one in records
            for document in (*one.documents, one.score and one.score.document)
            if document
        ),
    )
