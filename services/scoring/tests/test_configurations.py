"""One configuration is in force at a time: the newest, whichever files a process was started with."""

import zoneinfo
from collections.abc import Iterator
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import holidays
import pytest

from cxloop_common.business_time import find_zone, holidays_of
from cxloop_common.configuration.reading import FaultyFilesError
from cxloop_scoring.domain.metrics import FORMULAS
from cxloop_scoring.domain.rules import Rules
from cxloop_scoring.domain.windows import HOUR
from cxloop_scoring.generations import OwnFiles, RulesInForce, SupersededError, own_files

BASE = FORMULAS * 100_000
ONE = "sla: [{resolution: 4h}]\n"
TWO = "sla: [{resolution: 5h}]\n"
DEARER = "costs: {currency: EUR, per_contact: 5}\n"
OFFICE = """
calendars:
  office: {zone: Europe/Berlin, week: {mon-fri: 09:00-17:00}, holidays: DE}
default: office
"""


class Files(NamedTuple):
    metrics_file: str | None = None
    calendars_file: str | None = None


def written(folder: Path, text: str, name: str = "metrics.yaml") -> OwnFiles | None:
    """Write a metrics.yaml and read it as a process does at its start."""
    (folder / name).write_text(text, encoding="utf-8")
    return own_files(Files(str(folder / name)))


async def generation(worker: Any, own: OwnFiles | None, least: int = 0) -> int:
    return (await RulesInForce(worker.database, own).at_least(least)).generation


async def test_without_files_the_generation_is_that_of_the_formulas(worker: Any) -> None:
    assert own_files(Files()) is None
    assert await generation(worker, None) == BASE


async def test_a_configuration_keeps_its_number_and_another_one_gets_the_next(
    worker: Any, tmp_path: Path
) -> None:
    one, two = written(tmp_path, ONE), written(tmp_path, TWO, "other.yaml")
    assert [await generation(worker, own) for own in (one, one, two, two)] == [BASE + n for n in (1, 1, 2, 2)]
    # The name of the file means nothing.
    assert await generation(worker, written(tmp_path, TWO, "third.yaml")) == BASE + 2


def hours(rules: Rules) -> float:
    """Give the hours within which tickets are to be solved."""
    return rules.sla[0].targets[0].within / HOUR


async def test_the_newest_wins_over_own_files_that_are_older(worker: Any, tmp_path: Path) -> None:
    one, two = written(tmp_path, ONE), written(tmp_path, TWO)
    early = RulesInForce(worker.database, one)
    assert hours(await early.at_least(0)) == 4
    assert hours(await RulesInForce(worker.database, two).at_least(0)) == 5
    # A worker that goes on with its own finds the newer one as soon as it meets a document of it.
    assert (await early.at_least(BASE + 1)).generation == BASE + 1
    assert hours(await early.at_least(BASE + 2)) == 5
    # Restarted with the older text, or with none, it works by the newest too.
    assert hours(await RulesInForce(worker.database, one).at_least(0)) == 5
    assert hours(await RulesInForce(worker.database, None).at_least(0)) == 5


async def test_an_earlier_text_comes_back_as_a_new_decision(worker: Any, tmp_path: Path) -> None:
    for text in (ONE, TWO):
        await generation(worker, written(tmp_path, text))
    assert await generation(worker, written(tmp_path, ONE + "# back to 4, decided in March\n")) == BASE + 3


async def test_a_price_or_a_comment_books_nothing_anew(worker: Any, tmp_path: Path) -> None:
    texts = (ONE, ONE + DEARER, ONE + "# a word about it\n", ONE)
    assert [await generation(worker, written(tmp_path, text)) for text in texts] == [BASE + 1] * 4
    assert await generation(worker, written(tmp_path, TWO)) == BASE + 4
    assert await generation(worker, written(tmp_path, TWO + DEARER)) == BASE + 4
    # Without files, the targets and prices of the newest hold.
    rules = await RulesInForce(worker.database, None).at_least(0)
    assert (rules.generation, hours(rules), rules.costs.per_contact) == (BASE + 4, 5, 500)


async def test_what_books_as_without_files_has_their_generation(worker: Any, tmp_path: Path) -> None:
    assert await generation(worker, written(tmp_path, DEARER)) == BASE
    assert (await RulesInForce(worker.database, None).at_least(0)).costs.per_contact == 500


async def test_own_prices_hold_where_own_files_book_as_the_newest(worker: Any, tmp_path: Path) -> None:
    own = RulesInForce(worker.database, written(tmp_path, ONE + DEARER))
    assert (await own.at_least(0)).costs.per_contact == 500
    await generation(worker, written(tmp_path, ONE + DEARER.replace("5", "6")))
    await own.renew()
    assert (own.known.generation, own.known.costs.per_contact) == (BASE + 1, 500)
    await generation(worker, written(tmp_path, TWO))
    await own.renew()
    assert (own.known.generation, own.known.costs.per_contact) == (BASE + 3, None)


async def test_holiday_data_that_moves_a_date_is_another_configuration(
    worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "calendars.yaml").write_text(OFFICE, encoding="utf-8")
    files = Files(None, str(tmp_path / "calendars.yaml"))
    before = own_files(files)
    assert await generation(worker, before) == BASE + 1
    asleep = RulesInForce(worker.database, None)
    assert (await asleep.at_least(0)).generation == BASE + 1

    def moved(*_: object, **__: object) -> dict[date, str]:
        return {date(2026, 3, 10): "Moved"}

    monkeypatch.setattr(holidays, "country_holidays", moved)
    holidays_of.cache_clear()
    # Neither may software of other dates book by the number, nor pretend to have booked by it.
    with pytest.raises(SupersededError, match="holiday data"):
        await generation(worker, None)
    assert await generation(worker, own_files(files)) == BASE + 2
    assert await generation(worker, None) == BASE + 2
    monkeypatch.undo()
    holidays_of.cache_clear()
    with pytest.raises(SupersededError, match="holiday data"):
        await generation(worker, before)


@pytest.fixture
def another_database(tmp_path: Path) -> Iterator[None]:
    """Make a tz database in which Berlin has Athens' clocks."""
    paths, place = zoneinfo.TZPATH, tmp_path / "zoneinfo" / "Europe"
    place.mkdir(parents=True)
    (place / "Berlin").write_bytes(_compiled("Europe/Athens"))

    def use(*folders: str) -> None:
        zoneinfo.reset_tzpath(folders)
        zoneinfo.ZoneInfo.clear_cache()
        find_zone.cache_clear()

    use(str(place.parent))
    yield
    use(*paths)


def _compiled(name: str) -> bytes:
    """Read a zone's compiled file where `zoneinfo` finds it."""
    for folder in zoneinfo.TZPATH:
        if (file := Path(folder) / name).is_file():
            return file.read_bytes()
    area, city = name.split("/")
    return (resources.files(f"tzdata.zoneinfo.{area}") / city).read_bytes()


async def test_a_tz_database_that_moves_a_clock_is_another_configuration(
    worker: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "calendars.yaml").write_text(OFFICE, encoding="utf-8")
    files = Files(None, str(tmp_path / "calendars.yaml"))
    assert await generation(worker, own_files(files)) == BASE + 1
    request.getfixturevalue("another_database")
    with pytest.raises(SupersededError, match="tz database"):
        await generation(worker, None)
    assert await generation(worker, own_files(files)) == BASE + 2


async def test_documents_of_newer_software_are_not_touched(worker: Any) -> None:
    with pytest.raises(SupersededError, match="start the version that booked them"):
        await generation(worker, None, BASE + 100_000)


async def test_files_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(FaultyFilesError, match="cannot be read"):
        own_files(Files(str(tmp_path / "none.yaml"), None))


async def test_a_configuration_of_newer_software_is_not_guessed_at(worker: Any) -> None:
    await worker.connection.execute(
        "INSERT INTO configurations (digest, content) VALUES ($1, $2)",
        b"newer",
        '{"metrics": "telepathy: true\\n", "calendars": null}',
    )
    with pytest.raises(SupersededError, match="newer version"):
        await generation(worker, None)
