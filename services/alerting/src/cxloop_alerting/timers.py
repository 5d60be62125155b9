"""Timers: due rows become ticks in the log, each in a transaction of its own."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from cxloop_alerting.casework import SETTLE_TIMER, Casework
from cxloop_alerting.domain.case import Case, WantedTimer
from cxloop_alerting.domain.entries import tick_entry
from cxloop_alerting.domain.facts import LogEntry
from cxloop_alerting.domain.fold import wanted_timers
from cxloop_alerting.store import cases as case_store
from cxloop_common.database import Database, is_transient
from cxloop_common.processor.outbox import enqueue
from cxloop_common.telemetry import get_logger


class Timers:
    """Fires what is due. Any number of processes may do so at once: a row is held by one of them."""

    def __init__(
        self, database: Database, casework: Casework, now: Callable[[], datetime], poll_s: float
    ) -> None:
        self._database = database
        self._casework = casework
        self._now = now
        self._poll_s = poll_s
        self._log = get_logger("cxloop.alerting.timers")

    async def run(self) -> None:
        """Fire what is due until cancelled."""
        while True:
            await self.fire_due()
            await asyncio.sleep(self._poll_s)

    async def fire_due(self) -> int:
        """Fire each timer that is due, once. Returns how many were fired or found to be obsolete.

        One that fails does not hold up the others; the failures are raised together at the end, and their
        timers stay due.
        """
        done = 0
        passed: list[str] = []
        failures: list[Exception] = []
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            while True:
                timer: WantedTimer | None = None
                try:
                    async with connection.transaction():
                        timer = await case_store.take_due_timer(connection, self._now(), passed)
                        if timer is None:
                            break
                        if await self._fire(connection, timer):
                            done += 1
                        else:
                            passed.append(timer.id)
                except Exception as error:  # collected and raised below, after the others' turn
                    if timer is None or is_transient(error):
                        raise
                    passed.append(timer.id)
                    failures.append(error)
        if failures:
            raise ExceptionGroup("timers failed", failures)
        return done

    async def _fire(self, connection: object, timer: WantedTimer) -> bool:
        """Fire one timer; False if somebody is at work on its subject, so that it waits for the next round."""
        case_id = await case_store.resolve_alias(connection, timer.case_id) or timer.case_id
        row = await case_store.find_case(connection, case_id)
        if row is None:
            await case_store.write_timers(connection, [], [timer.id])
            return True
        held = await self._casework.try_hold(connection, {row.customer})
        if held is None or case_id not in held.rows:
            return False  # held by somebody, or moved while the lock was taken: next round
        now = self._now()
        await case_store.write_timers(connection, [], [timer.id])

        def tick(cases: Mapping[str, Sequence[Case]]) -> list[LogEntry]:
            return [
                tick_entry(case, timer, now)
                for group in cases.values()
                for case in group
                if timer.id in {wanted.id for wanted in wanted_timers([case])}
            ]

        decide = None if timer.kind == SETTLE_TIMER else tick
        outcome = await self._casework.refold(connection, held, now, decide=decide)
        await enqueue(connection, outcome.messages)
        if timer.kind != SETTLE_TIMER:
            self._log.info("timer_fired", case=case_id, kind=timer.kind, step=timer.step)
        return True
