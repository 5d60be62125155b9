"""Whether the loop is closed: what became of cases, and of the customers behind them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cxloop_scoring.domain.answers import Answer
from cxloop_scoring.domain.joined.tallies import Tally, share_answer
from cxloop_scoring.domain.statistics import share, share_difference, status
from cxloop_scoring.domain.windows import Span

RawTallies = dict[tuple[int, int], Tally]
"""Tallies by number of the span and value id of the group; 0 where none was asked for."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case as the ledger has it, with all that is tied to it; times are microseconds since 1970."""

    document: str
    opened_at: int
    due_at: int | None
    closed_at: int | None
    """None while it is open."""
    groups: tuple[int, ...]
    """Value ids of the groups it belongs to; 0 where none was asked for."""
    triggers: frozenset[str] = frozenset()
    """Documents of the scores that raised it, where they are asked for."""

    def open_at(self, moment: int) -> bool:
        """Tell whether the case was open just before a moment."""
        return self.opened_at < moment and (self.closed_at is None or self.closed_at >= moment)


def _cells(tallies: RawTallies, place: int, groups: Iterable[int]) -> Iterator[Tally]:
    for group in groups:
        yield tallies.setdefault((place, group), Tally())


def _within(spans: Sequence[Span], at: int) -> Iterator[int]:
    return (place for place, span in enumerate(spans) if span.since <= at < span.until)


def count_opened(cases: Iterable[Case], spans: Sequence[Span], now: int) -> RawTallies:
    """Count cases by the span they were opened in; hits are closed ones.

    `due` are those with a deadline that were closed or whose deadline has passed, `on_time` those closed by it.
    """
    tallies: RawTallies = {}
    for case in cases:
        closed, due = case.closed_at, case.due_at
        for place in _within(spans, case.opened_at):
            for tally in _cells(tallies, place, case.groups):
                tally.n += 1
                tally.hits += closed is not None
                if due is not None and (closed is not None or due <= now):
                    tally.count("due")
                    tally.count("on_time", int(closed is not None and closed <= due))
    return tallies


def closed_loop_rate(tally: Tally) -> Answer:
    """Answer with the share of closed cases; `coverage` and `on_time` in percent, None where there is no base."""
    return share_answer(
        tally,
        {
            "coverage": share(tally.get("covered"), tally.get("low")),
            "on_time": share(tally.get("on_time"), tally.get("due")),
        },
    )


def count_recovered(
    cases: Iterable[Case], spans: Sequence[Span], recovered: Mapping[str, bool]
) -> RawTallies:
    """Count closed cases by the span they were closed in; hits are those whose next score is above the low band.

    `recovered` tells so for each case document whose customer gave a next score.
    """
    tallies: RawTallies = {}
    for case in cases:
        if case.closed_at is None:
            continue
        above = recovered.get(case.document)
        for place in _within(spans, case.closed_at):
            for tally in _cells(tallies, place, case.groups):
                tally.count("closed")
                if above is not None:
                    tally.n += 1
                    tally.hits += above
    return tallies


def recovery_rate(tally: Tally) -> Answer:
    """Answer with the share of recovered cases; `of_all` relates them to all closed ones."""
    return share_answer(tally, {"of_all": share(tally.hits, tally.get("closed"))})


def recovery_lift(tally: Tally) -> Answer:
    """Answer with the difference of the arms' rates in points, and Newcombe's interval.

    None where an arm is empty; each arm is told beside it as `<arm>_n` and `<arm>_rate` (percent).
    """
    arms = {arm: (tally.get(f"{arm}_hits"), tally.get(f"{arm}_n")) for arm in ("contacted", "uncontacted")}
    contrast = share_difference(*arms["contacted"], *arms["uncontacted"])
    extra: dict[str, float | None] = {}
    for arm, (hits, n) in arms.items():
        extra[f"{arm}_n"] = n
        extra[f"{arm}_rate"] = share(hits, n)
    if contrast is None:
        return Answer(None, tally.n, None, status(tally.n), extra)
    return Answer(contrast.difference, tally.n, contrast.interval, status(tally.n), extra)
