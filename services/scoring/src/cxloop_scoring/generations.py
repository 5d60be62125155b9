"""Which rules are in force: the newest configuration that any process of this installation was started with.

A configuration is the text of both files, and what they decide about bookings: targets, the words of a lifecycle,
calendars with the dates of their holidays and the offsets of their zones. Each is numbered when it is first met, and
every document remembers the generation that booked it: the version of the folds times 100,000, plus the number of the
first of the configurations since then that book alike. So a new price books nothing anew, and new holiday data that
moves a date does, or a tz database that moves a clock, though no file changed.

A process whose own files book as the newest do goes by its own, prices included. Any other works by the newest
all the same, so two workers with different files never undo each other. Going back to an earlier text is
therefore a new decision that has to be told apart: change the file, if only by a comment.
"""

import json
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from cxloop_common.configuration.files import read_source
from cxloop_common.configuration.reading import FaultyFilesError, Problem, Source
from cxloop_common.database import Database
from cxloop_common.processor import ProcessingError
from cxloop_common.telemetry import get_logger
from cxloop_scoring.configuration import Files, parse_rules
from cxloop_scoring.domain.metrics import CONFIGURATIONS, FORMULAS
from cxloop_scoring.domain.rules import DEFAULT_RULES, Rules
from cxloop_scoring.store.configurations import BOOKING, Configuration, newest, register
from cxloop_scoring.store.connection import Connection

_NAMES: Final = ("metrics", "calendars")
UNCONFIGURED: Final = DEFAULT_RULES.booking_digest().hex()
"""How documents are booked without any file."""


class SupersededError(ProcessingError):
    """Newer software is at work on these documents: this one would undo what it booked, so it waits."""


class OwnFiles(NamedTuple):
    """What the files of this process say."""

    content: str
    """Both texts and what they decide about bookings, as JSON."""
    rules: Rules


def own_files(files: Files) -> OwnFiles | None:
    """Read the files; None where none is named. Raises FaultyFilesError with all problems of both."""
    problems: list[Problem] = []
    sources = [
        None if path is None else read_source(path, problems)
        for path in (files.metrics_file, files.calendars_file)
    ]
    if problems:
        raise FaultyFilesError(problems)
    if sources == [None, None]:
        return None
    rules = parse_rules(*sources)
    said = {name: source and source.text for name, source in zip(_NAMES, sources, strict=True)}
    said[BOOKING] = rules.booking_digest().hex()
    return OwnFiles(json.dumps(said, ensure_ascii=False, sort_keys=True), rules)


def rules_of(configuration: Configuration | None) -> Rules:
    """Read a configuration back. Raises SupersededError where this software would book by it otherwise."""
    if configuration is None:
        return replace(DEFAULT_RULES, generation=FORMULAS * CONFIGURATIONS)
    number = configuration.number
    texts: dict[str, Any] = json.loads(configuration.content)
    sources = [
        None if texts[name] is None else Source(f"{name}.yaml of configuration {number}", texts[name])
        for name in _NAMES
    ]
    try:
        rules = parse_rules(*sources)
    except FaultyFilesError as error:
        raise SupersededError(
            f"configuration {number} was registered by a newer version of the software: {error}"
        ) from error
    if rules.booking_digest().hex() != configuration.booking:
        raise SupersededError(
            f"configuration {number} was registered by another version of the software, of its holiday data or of "
            "the tz database, which books by it otherwise; start that version, or start a worker of this one with a "
            "changed file"
        )
    return replace(rules, generation=FORMULAS * CONFIGURATIONS + number)


async def rules_in_force(connection: Connection) -> Rules:
    """Give the rules of the newest configuration. Raises SupersededError."""
    return rules_of(await newest(connection, UNCONFIGURED))


class RulesInForce:
    """The rules by which this process books documents.

    They are looked up when they are first needed, and again where a document was booked by newer ones.
    """

    def __init__(self, database: Database, own: OwnFiles | None) -> None:
        self._database = database
        self._own = own
        self._rules: Rules | None = None
        self._log = get_logger("cxloop.scoring.generations")

    @property
    def known(self) -> Rules:
        """The rules as they were last looked up; what holds without files until then."""
        return self._rules or rules_of(None)

    async def renew(self) -> None:
        """Look the rules up: another process may have been started with newer ones. Raises SupersededError."""
        self._rules = await self._look_up()

    async def at_least(self, generation: int) -> Rules:
        """Give the rules in force, where documents of this generation are to be booked.

        Raises SupersededError where newer software booked them.
        """
        rules = self._rules
        if rules is None or rules.generation < generation:
            await self.renew()
            rules = self.known
        if rules.generation < generation:
            raise SupersededError(
                f"documents were booked by generation {generation}, and this software knows none beyond "
                f"{rules.generation}; start the version that booked them"
            )
        return rules

    async def _look_up(self) -> Rules:
        own = self._own
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            if own is None:
                found = await newest(connection, UNCONFIGURED)
            else:
                digest = blake2b(own.content.encode(), digest_size=16).digest()
                found = await register(connection, digest, own.content, UNCONFIGURED)
        superseded = True
        if own is not None and found is not None and found.booking == own.rules.booking_digest().hex():
            superseded = False
            rules = replace(own.rules, generation=FORMULAS * CONFIGURATIONS + found.number)
        else:
            rules = rules_of(found)
        if self._rules is None or self._rules.generation != rules.generation:
            superseded = superseded and found is not None
            self._log.info("rules_in_force", generation=rules.generation, own_files_superseded=superseded)
        return rules
