"""Which rules are in force: the newest configuration that any process of this installation was started with.

A configuration is the text of both files. Its number is drawn when it is first met, and every document
remembers the generation that booked it: the version of the folds times 100,000, plus that number. A process
whose own files are not the newest works by the newest all the same, so two workers with different files never
undo each other. Going back to an earlier text is therefore a new decision that has to be told apart: change
the file, if only by a comment.
"""

import json
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Final

from cxloop_common.configuration.files import read_source
from cxloop_common.configuration.reading import FaultyFilesError, Problem, Source
from cxloop_common.database import Database
from cxloop_common.processor import ProcessingError
from cxloop_common.telemetry import get_logger
from cxloop_scoring.configuration import Files, parse_rules
from cxloop_scoring.domain.metrics import CONFIGURATIONS, FORMULAS
from cxloop_scoring.domain.rules import DEFAULT_RULES, Rules
from cxloop_scoring.store.configurations import Configuration, newest, register

_NAMES: Final = ("metrics", "calendars")


class SupersededError(ProcessingError):
    """Newer software is at work on these documents: this one would undo what it booked, so it waits."""


def content_of(files: Files) -> str | None:
    """Read the files as one text; None where none is named. Raises FaultyFilesError."""
    problems: list[Problem] = []
    sources = [
        None if path is None else read_source(path, problems)
        for path in (files.metrics_file, files.calendars_file)
    ]
    if problems:
        raise FaultyFilesError(problems)
    if sources == [None, None]:
        return None
    texts = {name: source and source.text for name, source in zip(_NAMES, sources, strict=True)}
    return json.dumps(texts, ensure_ascii=False, sort_keys=True)


def rules_of(configuration: Configuration | None) -> Rules:
    """Read a configuration back. Raises SupersededError where only newer software understands it."""
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
    return replace(rules, generation=FORMULAS * CONFIGURATIONS + number)


class RulesInForce:
    """The rules by which this process books documents.

    They are looked up when they are first needed, and again where a document was booked by newer ones.
    """

    def __init__(self, database: Database, own: str | None) -> None:
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
        pool = await self._database.pool()
        async with pool.acquire() as connection:
            if self._own is None:
                found = await newest(connection)
            else:
                digest = blake2b(self._own.encode(), digest_size=16).digest()
                found = await register(connection, digest, self._own)
        rules = rules_of(found)
        if self._rules is None or self._rules.generation != rules.generation:
            superseded = found is not None and found.content != self._own
            self._log.info("rules_in_force", generation=rules.generation, own_files_superseded=superseded)
        return rules
