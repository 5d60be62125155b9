"""One change to some subjects: lock, load, fold, write what differs, announce it.

The worker, the timers and the API all change cases through here; each adds log entries or facts of its own and
leaves the rest to the fold.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cxloop_alerting.domain.case import Case, Reason, WantedTimer
from cxloop_alerting.domain.configuration import Configurations
from cxloop_alerting.domain.facts import LogEntry, ScoreFact, unlogged
from cxloop_alerting.domain.fold import ACKNOWLEDGE_TIMER, fold_subject, wanted_timers
from cxloop_alerting.domain.owners import Workload, assignments, teams_asked
from cxloop_alerting.domain.records import alert_record, name_change, summarise
from cxloop_alerting.store import cases as case_store
from cxloop_alerting.store import facts as fact_store
from cxloop_alerting.store import log as log_store
from cxloop_alerting.store import subjects
from cxloop_alerting.store.cases import NAMES as CASE_FIELDS
from cxloop_alerting.store.cases import CaseRow
from cxloop_alerting.store.configs import ConfigurationStore
from cxloop_common.events import AlertRecord, encode_event
from cxloop_common.identifiers import derive_id, mask
from cxloop_common.kafka.records import Message
from cxloop_common.topics import ALERTS, TopicNames, route_topic

SETTLE_TIMER = "settle"
Decide = Callable[[Mapping[str, Sequence[Case]]], Sequence[LogEntry]]
_TOLD = tuple(name for name in CASE_FIELDS if name not in {"context", "supersedes", "version"})
"""Fields whose change is a new version; the others follow from such changes."""


@dataclass
class Loaded:
    """All that the fold needs of the locked subjects."""

    subject_of: dict[str, str]
    """Document to subject."""
    customers: set[str]
    """Subjects that are customers, not hints waiting for one."""
    facts: dict[str, list[ScoreFact]] = field(default_factory=lambda: defaultdict[str, list[ScoreFact]](list))
    log: dict[str, list[LogEntry]] = field(default_factory=lambda: defaultdict[str, list[LogEntry]](list))

    def add(self, entries: Sequence[LogEntry]) -> None:
        """Take new log entries to their subjects."""
        for entry in entries:
            self.log[self.subject_of[entry.document]].append(entry)

    @property
    def trigger_ids(self) -> set[str]:
        """All triggers that were ever seen, which are all ids that may be a case's."""
        return {entry.case_id for log in self.log.values() for entry in log}


@dataclass(frozen=True)
class Held:
    """Locked subjects: what is known of them, and their cases as they are stored."""

    names: frozenset[str]
    loaded: Loaded
    rows: Mapping[str, CaseRow]


@dataclass(frozen=True)
class Outcome:
    """What a change led to."""

    messages: Sequence[Message]
    rows: Mapping[str, CaseRow]
    """The subjects' cases by id, as they are now."""


class Casework:
    """Refolds subjects within the caller's transaction."""

    def __init__(
        self, configurations: ConfigurationStore, names: TopicNames, settle_after: timedelta
    ) -> None:
        self._configurations = configurations
        self._names = names
        self._settle_after = settle_after

    async def configurations(self, connection: Any, now: datetime) -> Configurations:
        """Return all configurations, by time."""
        return await self._configurations.load(connection, now)

    async def hold(self, connection: Any, wanted: Collection[str], documents: Collection[str] = ()) -> Held:
        """Lock subjects and read them, and whatever else turns out to belong together with them.

        Identities may move while we wait for locks. What was read must then be whole: the `documents` and those
        of all cases in hand, and every case that their triggers stand in. If something lies with a subject that
        is not locked, everything is let go and a wider set is locked, so that locks are always taken in one
        order.
        """
        held = await self._hold(connection, wanted, documents, wait=True)
        if held is None:
            message = "a lock that waits was not taken"
            raise AssertionError(message)
        return held

    async def try_hold(self, connection: Any, wanted: Collection[str]) -> Held | None:
        """Do the same without waiting; None if somebody else holds one of the subjects."""
        return await self._hold(connection, wanted, (), wait=False)

    async def _hold(
        self, connection: Any, wanted: Collection[str], documents: Collection[str], *, wait: bool
    ) -> Held | None:
        names = set(wanted)
        while True:
            savepoint = connection.transaction()
            await savepoint.start()
            if wait:
                await subjects.lock(connection, names)
            elif not await subjects.try_lock(connection, names):
                await savepoint.rollback()
                return None
            loaded = await self.load(connection, names)
            rows = {row.case_id: row for row in await case_store.cases_of(connection, names)}
            absent = {*documents, *(document for row in rows.values() for document in row.documents)}
            absent.difference_update(loaded.subject_of)
            wider = names | await case_store.homes_of(connection, loaded.trigger_ids)
            if absent:
                wider |= await fact_store.subjects_of(connection, absent)
            elif wider == names:
                await savepoint.commit()
                return Held(frozenset(names), loaded, rows)
            await savepoint.rollback()
            names = wider

    async def refold(
        self,
        connection: Any,
        held: Held,
        now: datetime,
        *,
        decide: Decide | None = None,
        recheck: bool = False,
    ) -> Outcome:
        """Fold the subjects in hand and write what changed.

        `decide` sees each subject's cases as they stand and returns entries to log. With `recheck`, subjects
        that had no case so far are folded once more after the longest transaction has ended: one that ran beside
        this one saw nothing to lock, and may have written a score or a card that this fold could not see.
        """
        configurations = await self._configurations.load(connection, now)
        loaded = held.loaded
        due = [
            entry
            for subject, facts in loaded.facts.items()
            for entry in unlogged(facts, loaded.log[subject], configurations, now)
        ]
        if due:
            loaded.add(await log_store.append(connection, due))
        folded = _fold(loaded, loaded.facts, configurations)
        if decide is not None:
            await self._log(connection, decide(folded), loaded, folded, configurations)
        everything = _all(folded)
        if teams := teams_asked(everything):
            workload = Workload(
                await log_store.last_picked(connection, teams), await case_store.open_cases(connection)
            )
        else:
            workload = Workload()
        await self._log(connection, assignments(everything, workload, now), loaded, folded, configurations)
        return await self._write(connection, held, folded, now=now, recheck=recheck)

    async def load(self, connection: Any, locked: Collection[str]) -> Loaded:
        """Read facts and log of subjects."""
        of_customers = await fact_store.hints_of(connection, locked)
        linked = await fact_store.customers_of(connection, locked)
        # A subject that has no customer is a hint, and stands for itself.
        subject_of_hint = {**{name: name for name in locked if name not in linked}, **of_customers}
        facts = await fact_store.facts_of(connection, subject_of_hint)
        loaded = Loaded(
            {fact.document: subject_of_hint[fact.hint] for fact in facts}, set(of_customers.values())
        )
        for fact in facts:
            loaded.facts[loaded.subject_of[fact.document]].append(fact)
        if facts:
            loaded.add(await log_store.entries_of(connection, loaded.subject_of))
        return loaded

    async def _log(
        self,
        connection: Any,
        entries: Sequence[LogEntry],
        loaded: Loaded,
        folded: dict[str, list[Case]],
        configurations: Configurations,
    ) -> None:
        """Write entries and fold their subjects again."""
        if not entries:
            return
        loaded.add(await log_store.append(connection, entries))
        touched = {loaded.subject_of[entry.document] for entry in entries}
        folded.update(_fold(loaded, touched, configurations))

    async def _write(
        self,
        connection: Any,
        held: Held,
        folded: Mapping[str, Sequence[Case]],
        *,
        now: datetime,
        recheck: bool,
    ) -> Outcome:
        old, loaded = held.rows, held.loaded
        cards = await fact_store.cards_of(connection, loaded.customers)
        rows = {
            case.id: _row(case, subject, subject if subject in loaded.customers else None)
            for subject, cases in folded.items()
            for case in cases
        }
        reasons = {case.id: case.latest_reason for cases in folded.values() for case in cases}
        homes = {trigger: row.case_id for row in rows.values() for trigger in row.triggers}
        gone = {id_: row.version for id_, row in old.items() if id_ not in rows}
        absorbed: dict[str, list[CaseRow]] = defaultdict(list)
        for id_ in gone:
            if id_ not in homes:
                message = f"case {id_} would vanish: none of its triggers is left"
                raise RuntimeError(message)
            absorbed[homes[id_]].append(old[id_])
        returning = await case_store.shown_versions(connection, [id_ for id_ in rows if id_ not in old])
        changed: list[CaseRow] = []
        messages: list[Message] = []
        for id_, row in rows.items():
            before = old.get(id_)
            summary = summarise(cards[row.customer]) if row.customer in cards else {}
            if before is not None and not absorbed[id_] and not _differs(before, row, summary):
                rows[id_] = before
                continue
            predecessors = [*([before] if before else []), *absorbed[id_]]
            version = 1 + max(returning.get(id_, 0), *(other.version for other in predecessors), 0)
            supersedes = {other.case_id for other in absorbed[id_]}.union(
                *(other.supersedes for other in predecessors)
            )
            rows[id_] = replace(row, context=summary, version=version, supersedes=sorted(supersedes - {id_}))
            changed.append(rows[id_])
            latest = max(predecessors, key=lambda other: other.version, default=None)
            messages += self._announce(latest, rows[id_], reasons[id_], now)
        await case_store.write_cases(connection, changed, gone)
        watched = {row.customer for row in old.values()}
        settle = [
            WantedTimer(
                derive_id(SETTLE_TIMER, row.case_id), row.case_id, SETTLE_TIMER, 0, now + self._settle_after
            )
            for row in changed
            if recheck and row.customer not in watched
        ]
        await self._set_timers(connection, {*old, *rows}, folded, settle)
        return Outcome(messages, rows)

    def _announce(self, before: CaseRow | None, after: CaseRow, reason: str, now: datetime) -> list[Message]:
        shown = after.fields()
        change = name_change(None if before is None else before.fields(), shown)
        if before is not None and before.changes == after.changes:
            reason = Reason.CONTEXT
        record: AlertRecord = alert_record(shown, change, reason, now)
        key, value, headers = encode_event(record)
        topics = [ALERTS, *(route_topic(name) for name in (after.route, *after.copies))]
        return [Message(self._names.name(topic), key, value, tuple(headers)) for topic in topics]

    async def _set_timers(
        self,
        connection: Any,
        case_ids: Collection[str],
        folded: Mapping[str, Sequence[Case]],
        settle: Sequence[WantedTimer],
    ) -> None:
        if not case_ids:
            return
        existing = await case_store.timers_of(connection, case_ids, ACKNOWLEDGE_TIMER)
        wanted = {timer.id: timer for timer in wanted_timers(_all(folded))}
        new = [timer for id_, timer in wanted.items() if id_ not in existing]
        await case_store.write_timers(connection, [*new, *settle], existing - set(wanted))


def _fold(loaded: Loaded, names: Collection[str], configurations: Configurations) -> dict[str, list[Case]]:
    return {name: fold_subject(loaded.facts[name], loaded.log[name], configurations) for name in list(names)}


def _all(folded: Mapping[str, Sequence[Case]]) -> list[Case]:
    return [case for cases in folded.values() for case in cases]


def _differs(before: CaseRow, after: CaseRow, summary: Mapping[str, Any]) -> bool:
    """Tell whether readers have to hear of it. A card is news only where the case had none."""
    if summary and not before.context:
        return True
    return any(getattr(before, name) != getattr(after, name) for name in _TOLD)


def _row(case: Case, subject: str, customer_id: str | None) -> CaseRow:
    score = case.score
    return CaseRow(
        case_id=case.id,
        customer=subject,
        customer_id=customer_id,
        customer_hint=None if score.is_anonymous else mask(score.hint),
        rule=case.rule,
        status=str(case.status),
        reason=str(case.reason),
        severity=case.severity,
        route=case.route.name,
        copies=list(case.copies),
        owner_kind=case.owner.kind,
        owner_id=case.owner.id,
        owner_name=case.owner.name,
        owner_team=case.owner.team,
        score={
            "metric": score.metric,
            "value": score.value,
            "scale": dict(score.scale),
            "document": score.document,
        },
        triggers=list(case.trigger_ids),
        documents=[trigger.fact.document for trigger in case.triggers],
        opened_at=case.opened_at,
        due_at=case.due_at,
        acknowledged_at=case.acknowledged_at,
        contacted_at=case.contacted_at,
        resolved_at=case.resolved_at,
        escalated_at=case.escalated_at,
        escalated_to=case.escalated_to,
        root_cause=case.root_cause,
        config=case.configuration.digest,
        changes=len(case.history),
        context={},
        supersedes=[],
        version=0,
    )
