"""Settings from the environment."""

import pytest
from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from cxloop_common.settings import ServiceSettings, SettingsError, load_settings, settings_table


class ScoringSettings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="CXLOOP_SCORING_", frozen=True, use_attribute_docstrings=True
    )

    port: int = Field(default=8102, ge=0, le=65535)
    """Port to listen on."""
    tags: list[str] = Field(default=[], max_length=3)
    """Tags | to keep."""


KAFKA = "127.0.0.1:9092"
DATABASE = "postgresql://ana:s3cret@127.0.0.1/cx"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Start from an environment with the two required variables and no other of ours."""
    import os  # noqa: PLC0415 - the only use

    for name in list(os.environ):
        if name.upper().startswith("CXLOOP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CXLOOP_KAFKA_BOOTSTRAP", KAFKA)
    monkeypatch.setenv("CXLOOP_DATABASE_URL", DATABASE)
    return monkeypatch


def problems() -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(ScoringSettings)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_shared_settings_are_read_once_for_all_services() -> None:
    settings = load_settings(ScoringSettings)
    assert (settings.kafka_bootstrap, settings.database_url) == (KAFKA, DATABASE)
    assert (settings.host, settings.port, settings.worker_slot) == ("127.0.0.1", 8102, None)


def test_a_services_own_database_wins_over_the_shared_one(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CXLOOP_SCORING_DATABASE_URL", "postgresql://other/scoring")
    assert load_settings(ScoringSettings).database_url == "postgresql://other/scoring"


def test_own_settings_are_read_with_the_services_prefix(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CXLOOP_SCORING_WORKER_SLOT", "3")
    environment.setenv("CXLOOP_SCORING_TAGS", '["vip", "trial"]')
    settings = load_settings(ScoringSettings)
    assert (settings.worker_slot, settings.tags) == (3, ["vip", "trial"])


def test_an_empty_variable_counts_as_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CXLOOP_SCORING_WORKER_SLOT", "")
    assert load_settings(ScoringSettings).worker_slot is None


def test_a_command_line_option_wins_over_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CXLOOP_SCORING_PORT", "9000")
    assert load_settings(ScoringSettings, port=9001).port == 9001


def test_a_misspelt_setting_stops_the_start_and_names_the_nearest(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CXLOOP_SCORING_BATCH_RECORD", "10")
    assert problems() == (
        "CXLOOP_SCORING_BATCH_RECORD: unknown setting; did you mean CXLOOP_SCORING_BATCH_RECORDS?",
    )


def test_a_setting_in_the_wrong_case_is_not_ignored(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("cxloop_log_level", "debug")
    assert problems() == ("cxloop_log_level: unknown setting; did you mean CXLOOP_LOG_LEVEL?",)


def test_a_variable_of_no_known_group_stops_the_start(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CXLOOP_ZZZZ", "1")
    assert problems() == (
        "CXLOOP_ZZZZ: unknown setting; remove it, or see the settings in the service's README",
    )


def test_variables_of_other_services_and_tools_are_left_alone(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CXLOOP_JOURNEY_PORT", "1")
    environment.setenv("CXLOOP_SECRET_ZENDESK", "x")
    environment.setenv("CXLOOP_EMBEDDED_HEAP_MB", "384")
    environment.setenv("CXLOOP_DATA_DIR", "/data")
    assert load_settings(ScoringSettings).port == 8102


@pytest.mark.parametrize(
    ("name", "value"),
    [("CXLOOP_SCORING_PORT", "tcp://10.0.0.1:8102"), ("CXLOOP_KAFKA_SERVICE_HOST", "10.0.0.1")],
)
def test_kubernetes_service_links_are_told_from_misspellings(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    (problem,) = problems()
    assert problem.startswith(f"{name}: it looks like") or "enableServiceLinks" in problem


def test_every_problem_is_one_line_and_no_value_is_quoted(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("CXLOOP_KAFKA_BOOTSTRAP")
    environment.setenv("CXLOOP_DATABASE_URL", "mysql://ana:s3cret@host/x")
    environment.setenv("CXLOOP_SCORING_POISON_LIMIT", "0")
    environment.setenv("CXLOOP_SCORING_PROT", "1")
    found = problems()
    assert [line.partition(":")[0] for line in found] == [
        "CXLOOP_SCORING_PROT",
        "CXLOOP_KAFKA_BOOTSTRAP or CXLOOP_SCORING_KAFKA_BOOTSTRAP",
        "CXLOOP_DATABASE_URL",
        "CXLOOP_SCORING_POISON_LIMIT",
    ]
    assert "s3cret" not in "".join(found)
    assert all("\n" not in line for line in found)


def test_timeouts_that_contradict_each_other_are_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CXLOOP_SCORING_HEARTBEAT_INTERVAL_S", "30")
    (problem,) = problems()
    assert "heartbeat_interval_s must be below session_timeout_s" in problem


def test_settings_cannot_change_and_do_not_show_secrets(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CXLOOP_API_TOKENS", "[{name: a, token: t0ps3cret}]")
    settings = load_settings(ScoringSettings)
    with pytest.raises(ValidationError):
        settings.port = 1
    assert "s3cret" not in repr(settings)


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(SettingsError, match="prot: Extra inputs are not permitted"):
        load_settings(ScoringSettings, prot=1)


def test_the_table_tells_variable_default_bounds_and_meaning() -> None:
    rows = settings_table(ScoringSettings).splitlines()
    assert rows[0] == "| Variable | Default | Bounds | Meaning |"
    assert "| `CXLOOP_SCORING_PORT` | `8102` | 0..65535 | Port to listen on. |" in rows
    assert "| `CXLOOP_SCORING_TAGS` | `[]` | ..3 | Tags \\| to keep. |" in rows
    assert any(
        row.startswith("| `CXLOOP_DATABASE_URL` or `CXLOOP_SCORING_DATABASE_URL` | required |")
        for row in rows
    )
    assert any("`debug`, `info`, `warning`, `error`" in row for row in rows)
    assert any(row.startswith("| `CXLOOP_SCORING_WORKER_SLOT` | unset | 0..9999 |") for row in rows)


def test_every_setting_says_why_and_has_bounds_where_it_is_a_number() -> None:
    for name, field in ServiceSettings.model_fields.items():
        assert field.description, name
        if field.annotation in (int, float):
            assert len(field.metadata) == 2, name
