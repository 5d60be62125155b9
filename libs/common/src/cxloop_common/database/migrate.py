"""Alembic, run from code: one environment for all services, one version table in each schema."""

import importlib.util
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

ENVIRONMENT = Path(__file__).parent / "alembic"


def _config(package: str) -> Config:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        message = f"{package} is no package with migrations"
        raise ValueError(message)
    config = Config()
    config.set_main_option("script_location", str(ENVIRONMENT))
    config.set_main_option("path_separator", "os")
    config.set_main_option(
        "version_locations", str(Path(next(iter(spec.submodule_search_locations))) / "versions")
    )
    return config


def upgrade(connection: Connection, package: str, schema: str) -> None:
    """Make `schema` and bring it to the newest revision of `package`, inside the caller's transaction."""
    # Two processes that start together would both create the schema; the lock ends with the transaction.
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('cxloop.migrate.' || :s, 0))"), {"s": schema}
    )
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    connection.execute(text(f'SET LOCAL search_path = "{schema}"'))
    config = _config(package)
    config.attributes["connection"] = connection
    config.attributes["schema"] = schema
    command.upgrade(config, "head")


def difference(connection: Connection, package: str, schema: str) -> str | None:
    """Say how the schema's revision differs from the newest, or None if it does not."""
    newest = ScriptDirectory.from_config(_config(package)).get_current_head()
    context = MigrationContext.configure(
        connection, opts={"version_table_schema": schema, "version_table": "alembic_version"}
    )
    current = context.get_current_revision()
    if current == newest:
        return None
    return f"schema {schema} is at revision {current or 'none'}, the code needs {newest}; run --role migrate"
