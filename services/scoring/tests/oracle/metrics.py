"""Rows to values: each metric of the catalogue over one window, under any filters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from . import joined
from . import rows as r
from .asked import Asked
from .intervals import mean_interval, median_interval, nps_interval
from .known import Known
from .rows import Row
from .values import Value, percent, quantile, share_of

DURATIONS = {
    "first_response_time": r.FIRST_RESPONSE,
    "next_response_time": r.NEXT_RESPONSE,
    "first_resolution_time": r.FIRST_RESOLUTION,
    "full_resolution_time": r.FULL_RESOLUTION,
    "handle_time": r.HANDLE_TIME,
}
SHARES = {
    # Rows that say yes, and those among which.
    "reopen_rate": (r.REOPENED, r.FIRST_RESOLUTION),
    "escalation_rate": (r.ESCALATED, r.VOLUME),
}
MEANS = {"ces": r.CES, "ces_v1": r.CES_V1, "sentiment": r.SENTIMENT}


@dataclass(frozen=True)
class Definition:
    """How a metric is computed, and which rows give it groups."""

    of: Callable[[Known, Asked], Value]
    metrics: tuple[int, ...]
    tolerant: bool = field(default=False)
    """A duration: the service may be off by 1/128."""


def _nps(known: Known, asked: Asked) -> Value:
    chosen = asked.choose(known, r.NPS)
    if asked.relationship:
        latest: dict[str, Row] = {}
        for row in chosen:
            if (customer := known.customer(row)) is not None:
                latest[customer] = row
        chosen = list(latest.values())
    n, high, low = len(chosen), _in_band(chosen, r.HIGH), _in_band(chosen, r.LOW)
    return Value(n, percent(high - low, n), nps_interval(high, low, n))


def _csat(known: Known, asked: Asked) -> Value:
    chosen = asked.choose(known, r.CSAT)
    hits = _in_band(chosen, r.HIGH)
    return share_of(hits, len(chosen))


def _mean(name: str, metric: int) -> Definition:
    def of(known: Known, asked: Asked) -> Value:
        chosen = asked.choose(known, metric)
        values = [row.value / 100 for row in chosen]
        n = len(values)
        extra = (
            {"negative": percent(_in_band(chosen, r.LOW), n)}
            if name == "sentiment"
            else {"top_box": percent(_in_band(chosen, r.HIGH), n)}
        )
        return Value(
            n, sum(row.value for row in chosen) / n / 100 if n else None, mean_interval(values), extra, values
        )

    return Definition(of, (metric,))


def _duration(metric: int) -> Definition:
    def of(known: Known, asked: Asked) -> Value:
        seconds = sorted(row.value / 1000 for row in asked.choose(known, metric))
        extra = {"p90": quantile(seconds, 0.9)}
        if metric in r.BUSINESS_TWINS:
            twins = sorted(row.value / 1000 for row in asked.choose(known, r.BUSINESS_TWINS[metric]))
            extra |= {
                "business.n": len(twins),
                "business.value": quantile(twins, 0.5),
                "business.p90": quantile(twins, 0.9),
            }
        return Value(len(seconds), quantile(seconds, 0.5), median_interval(seconds), extra)

    return Definition(of, (metric,), tolerant=True)


def _share(yes: int, among: int) -> Definition:
    def of(known: Known, asked: Asked) -> Value:
        hits, n = sum(row.value for row in asked.choose(known, yes)), len(asked.choose(known, among))
        return share_of(hits, n)

    return Definition(of, (among,))


def _breaches(known: Known, asked: Asked) -> Value:
    # A breach is booked at its due time, which may lie ahead: it is none before then.
    chosen = [row for row in asked.choose(known, r.SLA_BREACH) if row.at <= asked.now]
    hits, n = sum(row.value for row in chosen), len(chosen)
    return share_of(hits, n)


def _handoffs(known: Known, asked: Asked) -> Value:
    n, chosen = len(asked.choose(known, r.VOLUME)), asked.choose(known, r.HANDOFFS)
    values = [float(row.value) for row in chosen] + [0.0] * (n - len(chosen))
    two_or_more = percent(sum(row.value >= 2 for row in chosen), n)
    return Value(
        n, sum(values) / n if n else None, mean_interval(values), {"two_or_more": two_or_more}, values
    )


def _volume(known: Known, asked: Asked) -> Value:
    n = len(asked.choose(known, r.VOLUME))
    return Value(n, float(n) if n else None, None)


def _backlog(known: Known, asked: Asked) -> Value:
    until_then = asked.from_the_beginning()
    created, solved = (len(until_then.choose(known, metric)) for metric in (r.VOLUME, r.FIRST_RESOLUTION))
    open_ = created - solved + sum(row.value for row in until_then.choose(known, r.BACKLOG))
    # Nothing open is a level of 0; a queue that never held anything has none.
    return Value(created, float(open_) if created else None, None)


def _in_band(rows: Sequence[Row], band: int) -> int:
    return sum(row.band == band for row in rows)


DEFINITIONS: Mapping[str, Definition] = {
    "nps": Definition(_nps, (r.NPS,)),
    "csat": Definition(_csat, (r.CSAT,)),
    **{name: _mean(name, metric) for name, metric in MEANS.items()},
    **{name: _duration(metric) for name, metric in DURATIONS.items()},
    **{name: _share(*metrics) for name, metrics in SHARES.items()},
    "response_rate": Definition(joined.response_rate, (r.RESPONSE_RATE, r.SEND_UNLINKED)),
    "first_contact_resolution": Definition(joined.first_contact_resolution, (r.FIRST_RESOLUTION,)),
    "repeat_contact_rate": Definition(joined.repeat_contact_rate, (r.CONTACT,)),
    "handoffs": Definition(_handoffs, (r.VOLUME,)),
    "sla_breach_rate": Definition(_breaches, (r.SLA_BREACH,)),
    "ticket_volume": Definition(_volume, (r.VOLUME,)),
    "backlog": Definition(_backlog, (r.VOLUME,)),
    "retention": Definition(joined.retention, (r.LIFECYCLE,)),
    "churn": Definition(joined.churn, (r.LIFECYCLE,)),
    "closed_loop_rate": Definition(joined.closed_loop_rate, (r.CASE_OPENED,)),
    "recovery_rate": Definition(joined.recovery_rate, (r.CASE_OPENED,)),
    "recovery_lift": Definition(joined.recovery_lift, tuple(sorted(r.SCORES))),
    "revenue_at_risk": Definition(joined.revenue_at_risk, (r.CASE_OPENED,)),
}
