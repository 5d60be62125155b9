"""`metrics.yaml` and `calendars.yaml` to Rules, or everything that is wrong with them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

from cxloop_common.business_time import Calendars
from cxloop_common.configuration.calendars import parse_calendars
from cxloop_common.configuration.files import read_source
from cxloop_common.configuration.reading import At, FaultyFilesError, Problem, Source, YamlReader
from cxloop_scoring.domain.dimensions import TAG
from cxloop_scoring.domain.metrics import CATALOGUE
from cxloop_scoring.domain.rules import DEFAULT_RULES, Clock, Costs, Hours, Rules, SlaPolicy, SlaTarget, Watch

_FILE_KEYS: Final = ("sla", "costs", "lifecycle", "shifts")
_POLICY_KEYS: Final = ("match", *Clock, "hours")
_COST_KEYS: Final = ("currency", "per_contact", "per_channel", "per_hour", "avoidable")
_WATCH_KEYS: Final = ("metrics", "by", "window")
_LONGEST_TARGET: Final = timedelta(days=365)
_SHORTEST_WATCH, _LONGEST_WATCH = timedelta(hours=1), timedelta(days=90)
_MICROSECOND: Final = timedelta(microseconds=1)
_CURRENCY_LETTERS: Final = 3


class Files(Protocol):
    """The settings that name the files."""

    @property
    def metrics_file(self) -> str | None:
        """Path of the metrics.yaml."""
        ...

    @property
    def calendars_file(self) -> str | None:
        """Path of the calendars.yaml."""
        ...


def read_rules(metrics: Path | str | None, calendars: Path | str | None) -> Rules:
    """Read the files; None stands for what holds without one. Raises FaultyFilesError with all problems of both.

    The generation is left at 0: the number of a configuration is the database's to give.
    """
    problems: list[Problem] = []
    sources = [None if path is None else read_source(path, problems) for path in (metrics, calendars)]
    if problems:
        raise FaultyFilesError(problems)
    return parse_rules(*sources)


def check_metrics(metrics: Path | str | None, calendars: Path | str | None) -> list[Problem]:
    """Return what is wrong with the two files; empty for a configuration that would start."""
    try:
        read_rules(metrics, calendars)
    except FaultyFilesError as error:
        return list(error.problems)
    return []


def parse_rules(metrics: Source | None, calendars: Source | None) -> Rules:
    """Make the rules of two texts. Raises FaultyFilesError with everything that is wrong."""
    problems: list[Problem] = []
    hours: Calendars | None = Calendars()
    if calendars is not None:
        try:
            hours = parse_calendars(calendars)
        except FaultyFilesError as error:
            problems += error.problems
            hours = None
    rules = DEFAULT_RULES
    if metrics is not None:
        reader = YamlReader(metrics.name)
        rules = _Metrics(reader, hours).read(metrics.text)
        problems += reader.problems
    if problems:
        raise FaultyFilesError(problems)
    return replace(rules, calendars=hours or Calendars())


@dataclass
class _Metrics:
    reader: YamlReader
    calendars: Calendars | None
    """None where the calendars are faulty, which is said elsewhere."""

    def read(self, text: str) -> Rules:
        root = self.reader.document(text)
        if root is None:
            return DEFAULT_RULES
        entries = self.reader.mapping(root, _FILE_KEYS)
        rules = DEFAULT_RULES
        if "sla" in entries:
            rules = replace(rules, sla=self._sla(entries["sla"]))
        if "costs" in entries:
            rules = replace(rules, costs=self._costs(entries["costs"]))
        if "lifecycle" in entries:
            rules = self._lifecycle(entries["lifecycle"], rules)
        if "shifts" in entries:
            rules = replace(rules, shifts=self._shifts(entries["shifts"]))
        return rules

    def _sla(self, at: At) -> tuple[SlaPolicy, ...]:
        policies: list[SlaPolicy] = []
        for item in self.reader.sequence(at):
            problems = len(self.reader.problems)
            policy = self._policy(item)
            if len(self.reader.problems) > problems:
                continue  # a faulty one may seem to match more than was meant
            if any(_covers(earlier, policy) for earlier in policies):
                self.reader.complain(item, "unreachable: a policy before it matches all of these tickets")
            policies.append(policy)
        return tuple(policies)

    def _policy(self, at: At) -> SlaPolicy:
        entries = self.reader.mapping(at, _POLICY_KEYS)
        hours = Hours.CALENDAR
        if "hours" in entries:
            hours = self.reader.choice(entries["hours"], tuple(Hours), "kind of hours") or hours
        if hours is Hours.BUSINESS and self.calendars is not None and self.calendars.default is None:
            self.reader.complain(
                entries["hours"],
                "business hours need a default calendar in calendars.yaml, for tickets without a team",
            )
        targets = [
            SlaTarget(clock, within, hours)
            for clock in Clock
            if clock in entries and (within := self._target(entries[clock], hours)) is not None
        ]
        if not any(clock in entries for clock in Clock):
            self.reader.complain(at, "a policy without first_response or resolution promises nothing")
        return SlaPolicy(self._match(entries["match"]) if "match" in entries else (), tuple(targets))

    def _target(self, at: At, hours: Hours) -> int | None:
        within = self.reader.duration(at)
        if within is None:
            return None
        if hours is Hours.BUSINESS and (self.reader.text(at) or "").endswith("d"):
            self.reader.complain(
                at, "say business time in hours: a day would be 24 open hours, which is three working days"
            )
        if within > _LONGEST_TARGET:
            self.reader.complain(at, "a target is a year at most")
        return within // _MICROSECOND

    def _match(self, at: At) -> tuple[tuple[str, frozenset[str]], ...]:
        found: list[tuple[str, frozenset[str]]] = []
        for name, value in self.reader.mapping(at).items():
            if name == TAG:
                self.reader.complain(value, "a ticket has many tags; match on another dimension")
            values = frozenset(self.reader.texts(value))
            if not values:
                self.reader.complain(value, "no value is listed, so no ticket would match")
            found.append((name, values))
        return tuple(found)

    def _costs(self, at: At) -> Costs:
        entries = self.reader.mapping(at, _COST_KEYS)
        amounts = {
            name: self.reader.hundredths(entries[name])
            for name in ("per_contact", "per_hour")
            if name in entries
        }
        channels = self.reader.mapping(entries["per_channel"]) if "per_channel" in entries else {}
        per_channel = {
            name: amount
            for name, value in channels.items()
            if (amount := self.reader.hundredths(value)) is not None
        }
        currency = self._currency(entries["currency"]) if "currency" in entries else None
        if "currency" not in entries and (amounts or per_channel):
            self.reader.complain(at, "currency is missing: an amount without one cannot be told from another")
        return Costs(
            currency=currency,
            per_contact=amounts.get("per_contact"),
            per_channel=per_channel,
            per_hour=amounts.get("per_hour"),
            avoidable=frozenset(self.reader.texts(entries["avoidable"]) if "avoidable" in entries else ()),
        )

    def _currency(self, at: At) -> str | None:
        code = self.reader.text(at)
        if code is None or (
            len(code) == _CURRENCY_LETTERS and code.isascii() and code.isalpha() and code.isupper()
        ):
            return code
        self.reader.complain(at, "expected a currency's three letters, such as EUR")
        return None

    def _lifecycle(self, at: At, rules: Rules) -> Rules:
        entries = self.reader.mapping(at, ("active", "left"))
        problems = len(self.reader.problems)
        active = self._words(entries["active"]) if "active" in entries else rules.active_words
        if not active and len(self.reader.problems) == problems:
            self.reader.complain(
                entries["active"], "no word is listed, so no touchpoint could make a customer active"
            )
        left = self._words(entries["left"]) if "left" in entries else rules.left_words
        for word in left:
            if other := next((one for one in active if one.startswith(word) or word.startswith(one)), None):
                self.reader.complain(
                    entries.get("left", at),
                    f"a touchpoint could begin with both {other} (active) and {word} (left)",
                )
        return replace(rules, active_words=active, left_words=left)

    def _words(self, at: At) -> tuple[str, ...]:
        words = [
            (item, text) for item in self.reader.sequence(at) if (text := self.reader.text(item)) is not None
        ]
        for item, text in words:
            if not text.strip():
                self.reader.complain(item, "an empty word would match every touchpoint")
        return tuple(dict.fromkeys(text.strip().lower() for _, text in words))

    def _shifts(self, at: At) -> tuple[Watch, ...]:
        found: list[Watch] = []
        for item in self.reader.sequence(at):
            entries = self.reader.mapping(item, _WATCH_KEYS)
            if not self.reader.require(item, entries, "metrics", "window"):
                continue
            window = self.reader.duration(entries["window"])
            if window is not None and not _SHORTEST_WATCH <= window <= _LONGEST_WATCH:
                self.reader.complain(entries["window"], "a watched window is between 1h and 90d")
            by = tuple(self.reader.texts(entries["by"])) if "by" in entries else ()
            names = self._metrics(entries["metrics"])
            found += [Watch(name, window // _MICROSECOND, by) for name in names if window is not None]
        return tuple(found)

    def _metrics(self, at: At) -> Iterable[str]:
        for item in self.reader.sequence(at):
            name = self.reader.choice(item, tuple(CATALOGUE), "metric")
            if name is not None:
                yield name


def _covers(earlier: SlaPolicy, later: SlaPolicy) -> bool:
    """Tell whether every ticket that `later` matches is matched by `earlier` as well."""
    wanted = dict(later.match)
    return all(name in wanted and wanted[name] <= values for name, values in earlier.match)
