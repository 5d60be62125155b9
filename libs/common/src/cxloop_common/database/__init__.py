"""PostgreSQL: one engine and one pool a service, its own schema, its own migrations."""

from cxloop_common.database.engine import Database, DatabaseUnavailableError, is_transient

__all__ = ["Database", "DatabaseUnavailableError", "is_transient"]
