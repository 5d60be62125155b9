"""Invariants: what the oracle expects against what is there, every difference under the letter it breaks."""

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from tests.faults import oracle, state
from tests.faults.oracle import Observed, Score
from tests.faults.state import ScoringState, State, TallyState, samples
from tests.faults.wire import LogRecord


class Invariant(StrEnum):
    """What must hold."""

    LOST = "L"
    """Everything that was acknowledged is in the result."""
    DOUBLED = "D"
    """Everything is counted once; nothing is there that nobody said."""
    FREE = "F"
    """The result is that of a clean run over the same records."""
    RECOVERED = "R"
    """Lag 0 within 60 s of healing."""
    STAGED = "S"
    """The fault itself took place; without it the run would prove nothing."""


@dataclass(frozen=True)
class Violation:
    """A broken invariant: how many differences of one sort, and a few of them."""

    invariant: Invariant
    what: str
    count: int = 1

    def __str__(self) -> str:
        """Render for people."""
        return f"{self.invariant} {self.what}"


def compare(what: str, expected: Mapping[Any, int], actual: Mapping[Any, int]) -> list[Violation]:
    """Compare multisets: what is missing is lost, what is too much is doubled."""
    missing = Counter(expected) - Counter(actual)
    extra = Counter(actual) - Counter(expected)
    found: list[Violation] = []
    for invariant, word, difference in (
        (Invariant.LOST, "missing", missing),
        (Invariant.DOUBLED, "too many", extra),
    ):
        if difference:
            count = sum(difference.values())
            found.append(Violation(invariant, f"{what}: {count} {word}: {samples(difference)}", count))
    return found


def scoring(records: Iterable[LogRecord], found: ScoringState) -> list[Violation]:
    """Compare scoring's state with the oracle's: facts, observations, sums; and its buckets with its ledger."""
    expected = oracle.expected(records)
    facts = Counter((document, key) for document, keys in expected.facts.items() for key in keys)
    kept = Counter((document, key) for document, keys in found.facts.items() for key in keys)
    booked: Counter[Observed] = Counter()
    for entry, times in found.ledger.items():
        booked[Observed(entry.document, entry.metric, entry.value, entry.band, entry.at, entry.team)] += times
    withdrawn = [entry for entry, times in found.ledger.items() if times < 0]
    violations = [
        *compare("facts of documents", facts, kept),
        *compare("observations in the ledger", expected.observations, booked),
        *_sums(expected, found),
    ]
    if withdrawn:
        text = f"{len(withdrawn)} observations withdrawn more often than booked: {samples(withdrawn)}"
        violations.append(Violation(Invariant.DOUBLED, text, len(withdrawn)))
    for name, unit, cells in (("hour", state.HOUR_US, found.hours), ("day", oracle.DAY_US, found.days)):
        violations += _cells(
            name, state.buckets_of(found.ledger, unit, oracle.DURATIONS, oracle.LEDGER_ONLY), cells
        )
    return violations


def _sums(expected: oracle.Expected, found: ScoringState) -> list[Violation]:
    """Compare count and sum by metric, day and team, as an answer of the API would add them up from buckets."""
    days: dict[tuple[int, int, str], tuple[int, int]] = {}
    for (metric, dimension, team, day), numbers in found.days.items():
        if dimension == "team":
            days[metric, day, team] = numbers[:2]
    wanted = {place: numbers for place, numbers in expected.totals().items() if place[2] is not None}
    wrong = {
        place
        for place in wanted.keys() | days.keys()
        if wanted.get(cast("Any", place)) != days.get(cast("Any", place))
    }
    if not wrong:
        return []
    return [
        Violation(
            Invariant.DOUBLED,
            f"sums by metric, day and team: {len(wrong)} differ: {samples(wrong)}",
            len(wrong),
        )
    ]


def _cells(
    name: str, ledger: Mapping[state.Cell, state.Numbers], cells: Mapping[state.Cell, state.Numbers]
) -> list[Violation]:
    wrong = {cell for cell in ledger.keys() | cells.keys() if ledger.get(cell) != cells.get(cell)}
    if not wrong:
        return []
    some = [(cell, "ledger", ledger.get(cell), "bucket", cells.get(cell)) for cell in sorted(wrong)[:2]]
    text = f"{name} buckets: {len(wrong)} differ from the ledger: {samples(some)}"
    return [Violation(Invariant.DOUBLED, text, len(wrong))]


def published_scores(records: Iterable[LogRecord], published: Sequence[LogRecord]) -> list[Violation]:
    """Compare each response's highest revision with the oracle's; one id always has the same bytes."""
    expected = oracle.expected(records).scores
    last: dict[str, Score] = {}
    for record in published:
        data = cast("dict[str, Any]", json.loads(record.value))
        revision = cast("tuple[int, int]", tuple(data["revision"]))
        document = data["document"]
        if document not in last or last[document].revision < revision:
            last[document] = Score(
                revision,
                tuple(data["event_ids"]),
                data["raw"],
                data["normalised"],
                data["band"],
                data["dimensions"].get("team"),
            )
    lost = {document for document, score in expected.items() if last.get(document) != score}
    invented = last.keys() - expected.keys()
    found = same_bytes("scores", published)
    if lost:
        some = [
            (document, "expected", expected[document], "published", last.get(document))
            for document in sorted(lost)[:2]
        ]
        text = f"last published scores: {len(lost)} are not what they must be: {samples(some)}"
        found.append(Violation(Invariant.LOST, text, len(lost)))
    if invented:
        text = f"published scores: {len(invented)} of responses that nobody gave: {samples(invented)}"
        found.append(Violation(Invariant.DOUBLED, text, len(invented)))
    return found


def same_bytes(what: str, published: Iterable[LogRecord]) -> list[Violation]:
    """Check that records of one id are equal byte for byte: only then is a repetition harmless."""
    contents: dict[bytes, set[tuple[bytes, bytes]]] = defaultdict(set)
    for record in published:
        contents[record.headers["ce_id"]].add((record.key, record.value))
    torn = [identity for identity, found in contents.items() if len(found) > 1]
    if not torn:
        return []
    text = f"{what}: {len(torn)} ids were published with different bytes: {samples(torn)}"
    return [Violation(Invariant.DOUBLED, text, len(torn))]


def tally(
    log: Sequence[LogRecord], found: TallyState, outputs: Mapping[str, Sequence[LogRecord]]
) -> list[Violation]:
    """Compare the tally with the log: every record counted once, announced at least once, and nothing else."""
    spots = Counter(record.spot for record in log)
    sums: dict[str, tuple[int, int]] = {}
    for record in log:
        n, total = sums.get(record.key.decode(), (0, 0))
        sums[record.key.decode()] = (n + 1, total + zlib.crc32(record.value) % 1000)
    violations = compare("records counted", spots, cast("Counter[Any]", found.applied))
    wrong = {key for key in sums.keys() | found.sums.keys() if sums.get(key) != found.sums.get(key)}
    if wrong:
        text = f"sums by key: {len(wrong)} differ: {samples(wrong)}"
        violations.append(Violation(Invariant.DOUBLED, text, len(wrong)))
    expected = Counter(f"{topic}/{partition}/{offset}" for topic, partition, offset in spots)
    for what, records in outputs.items():
        announced = Counter({record.headers["ce_id"].decode(): 1 for record in records})
        violations += compare(f"{what} announcements", expected, announced) + same_bytes(what, records)
    return violations


def acknowledged(ledger: Iterable[LogRecord], log: Iterable[LogRecord]) -> list[Violation]:
    """Check that everything that was acknowledged stands in the log as it was written."""
    standing = {record.spot: (record.key, record.value) for record in log}
    lost = [record.spot for record in ledger if standing.get(record.spot) != (record.key, record.value)]
    if not lost:
        return []
    return [
        Violation(
            Invariant.LOST, f"{len(lost)} acknowledged records are not in the log: {samples(lost)}", len(lost)
        )
    ]


def parked(
    poison: Sequence[LogRecord], found: Mapping[Hashable, int], letters: Sequence[LogRecord]
) -> list[Violation]:
    """Check that each poison record was parked once, for its reason, and sent to the dead-letter topic as it came."""
    expected = Counter((*record.spot, "unreadable") for record in poison)
    sent: dict[tuple[str, int, int], bytes] = {}
    for letter in letters:
        told = {
            name: value.decode() for name, value in letter.headers.items() if name.startswith("cxloop_dead_")
        }
        spot = (
            told["cxloop_dead_topic"],
            int(told["cxloop_dead_partition"]),
            int(told["cxloop_dead_offset"]),
        )
        sent[spot] = letter.value
    lost = [record.spot for record in poison if sent.get(record.spot) != record.value]
    violations = compare("parked records", expected, cast("Mapping[Any, int]", found))
    if lost:
        text = f"dead-letter topic: {len(lost)} parked records are not there as they came: {samples(lost)}"
        violations.append(Violation(Invariant.LOST, text, len(lost)))
    return violations


def equal(found: State, clean: State) -> list[Violation]:
    """Compare the state under faults with a clean run's over the same records."""
    theirs = clean.sections()
    violations: list[Violation] = []
    for name, section in found.sections().items():
        difference = (section - theirs[name]) + (theirs[name] - section)
        if difference:
            text = f"{name}: {len(difference)} differ from a clean run: {samples(difference)}"
            violations.append(Violation(Invariant.FREE, text, len(difference)))
    return violations
