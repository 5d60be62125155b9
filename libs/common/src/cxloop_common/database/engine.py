"""Connections to a service's schema, with server-side limits on every transaction."""

import asyncio
import re
from typing import Self

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from cxloop_common.database import migrate

SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
CONNECT_TIMEOUT_S = 5.0


class DatabaseUnavailableError(Exception):
    """PostgreSQL cannot be reached, or has not been migrated yet."""


# By SQLSTATE class: connection, transaction rollback, resources, object not in state, operator, system;
# 25P0x are the server's own time limits on our transactions.
_TRANSIENT_CLASSES = ("08", "40", "53", "55", "57", "58", "25P")


def is_transient(error: BaseException) -> bool:
    """Tell whether the same statements could succeed later: everything but the data's and the code's own faults."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "").startswith(_TRANSIENT_CLASSES)
    if isinstance(error, asyncpg.InterfaceError):
        # A closed or broken connection reports itself so; a wrong argument is a DataError, which is not transient.
        return not isinstance(error, asyncpg.DataError)
    if isinstance(error, asyncpg.InternalClientError):
        # What asyncpg raises where a connection breaks in the middle of an answer.
        return True
    return isinstance(error, OSError | TimeoutError | DatabaseUnavailableError)


class Database:
    """A service's schema in a PostgreSQL database.

    Nothing is connected until it is used, so a service can start while the database is away. Every session has
    the schema as its search path and limits on how long a transaction may last or idle: one that stalls would
    hold up its partition's next owner.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str,
        transaction_timeout_s: float = 30,
        pool_size: int = 10,
        name: str = "cxloop",
    ) -> None:
        if not SCHEMA.fullmatch(schema):
            message = f"{schema!r} is no schema name"
            raise ValueError(message)
        self.url = re.sub(r"^postgres(ql)?(\+asyncpg)?://", "postgresql://", url)
        self.schema = schema
        self.transaction_timeout_s = transaction_timeout_s
        self._pool_size = pool_size
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._name = name
        self.engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self.connect,
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
        )

    def _session(self) -> dict[str, str]:
        limit_ms = str(int(self.transaction_timeout_s * 1000))
        return {
            "search_path": self.schema,
            "application_name": f"{self._name}-{self.schema}",
            "timezone": "UTC",
            "transaction_timeout": limit_ms,
            "idle_in_transaction_session_timeout": limit_ms,
            # Sizes of arrays passed to unnest vary with every batch; JIT compiles anew for seconds.
            "jit": "off",
        }

    async def connect(self) -> asyncpg.Connection:
        """Open a connection of its own, for a worker. Raises what asyncpg raises; see `is_transient`."""
        return await asyncpg.connect(self.url, timeout=CONNECT_TIMEOUT_S, server_settings=self._session())

    async def pool(self) -> asyncpg.Pool:
        """Return the pool for the hot paths of an API; made at the first call."""
        if self._pool is None:
            async with self._opening:
                if self._pool is None:
                    self._pool = await asyncpg.create_pool(
                        self.url,
                        min_size=0,
                        max_size=self._pool_size,
                        timeout=CONNECT_TIMEOUT_S,
                        server_settings=self._session(),
                    )
        return self._pool

    async def migrate(self, package: str) -> None:
        """Make the schema and apply the package's migrations; safe to run from several processes at once."""
        engine = create_async_engine("postgresql+asyncpg://", async_creator=self._connect_unlimited)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(migrate.upgrade, package, self.schema)
        finally:
            await engine.dispose()

    async def revision(self, package: str) -> str | None:
        """Say what is wrong with the schema's revision, or None if it is the package's newest."""
        async with self.engine.connect() as connection:
            return await connection.run_sync(migrate.difference, package, self.schema)

    async def _connect_unlimited(self) -> asyncpg.Connection:
        session = {**self._session(), "transaction_timeout": "0", "idle_in_transaction_session_timeout": "0"}
        return await asyncpg.connect(self.url, timeout=CONNECT_TIMEOUT_S, server_settings=session)

    async def close(self) -> None:
        """Close all connections, by force where a query hangs."""
        if self._pool is not None:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()
            self._pool = None
        await self.engine.dispose()

    async def __aenter__(self) -> Self:
        """Use as a context: closed at its end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()
