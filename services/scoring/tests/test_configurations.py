"""One configuration is in force at a time: the newest, whichever files a process was started with."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cxloop_common.configuration.reading import FaultyFilesError
from cxloop_scoring.domain.metrics import FORMULAS
from cxloop_scoring.generations import RulesInForce, SupersededError, content_of

BASE = FORMULAS * 100_000
ONE = "costs: {currency: EUR, per_contact: 4}\n"
TWO = "costs: {currency: EUR, per_contact: 5}\n"


class Files(NamedTuple):
    metrics_file: str | None = None
    calendars_file: str | None = None


def written(folder: Path, text: str, name: str = "metrics.yaml") -> str | None:
    """Write a metrics.yaml and read it as a process does at its start."""
    (folder / name).write_text(text, encoding="utf-8")
    return content_of(Files(str(folder / name)))


async def generation(worker: Any, own: str | None, least: int = 0) -> int:
    return (await RulesInForce(worker.database, own).at_least(least)).generation


async def test_without_files_the_generation_is_that_of_the_formulas(worker: Any) -> None:
    assert content_of(Files()) is None
    assert await generation(worker, None) == BASE


async def test_a_configuration_keeps_its_number_and_another_one_gets_the_next(
    worker: Any, tmp_path: Path
) -> None:
    one, two = written(tmp_path, ONE), written(tmp_path, TWO, "other.yaml")
    assert [await generation(worker, own) for own in (one, one, two, two)] == [BASE + n for n in (1, 1, 2, 2)]
    # The name of the file means nothing.
    assert await generation(worker, written(tmp_path, TWO, "third.yaml")) == BASE + 2


async def test_the_newest_wins_over_own_files_that_are_older(worker: Any, tmp_path: Path) -> None:
    one, two = written(tmp_path, ONE), written(tmp_path, TWO)
    early = RulesInForce(worker.database, one)
    assert (await early.at_least(0)).costs.per_contact == 400
    assert (await RulesInForce(worker.database, two).at_least(0)).costs.per_contact == 500
    # A worker that goes on with its own finds the newer one as soon as it meets a document of it.
    assert (await early.at_least(BASE + 1)).generation == BASE + 1
    assert (await early.at_least(BASE + 2)).costs.per_contact == 500
    # Restarted with the older text, or with none, it works by the newest too.
    assert (await RulesInForce(worker.database, one).at_least(0)).costs.per_contact == 500
    assert (await RulesInForce(worker.database, None).at_least(0)).costs.per_contact == 500


async def test_an_earlier_text_comes_back_as_a_new_decision(worker: Any, tmp_path: Path) -> None:
    for text in (ONE, TWO):
        await generation(worker, written(tmp_path, text))
    assert await generation(worker, written(tmp_path, ONE + "# back to 4, decided in March\n")) == BASE + 3


async def test_documents_of_newer_software_are_not_touched(worker: Any) -> None:
    with pytest.raises(SupersededError, match="start the version that booked them"):
        await generation(worker, None, BASE + 100_000)


async def test_files_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(FaultyFilesError, match="cannot be read"):
        content_of(Files(str(tmp_path / "none.yaml"), None))


async def test_a_configuration_of_newer_software_is_not_guessed_at(worker: Any) -> None:
    await worker.connection.execute(
        "INSERT INTO configurations (digest, content) VALUES ($1, $2)",
        b"newer",
        '{"metrics": "telepathy: true\\n", "calendars": null}',
    )
    with pytest.raises(SupersededError, match="newer version"):
        await generation(worker, None)
