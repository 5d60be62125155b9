"""The deployment's key: every worker names customers with the same one, for as long as the schema lives."""

import secrets
from hashlib import blake2b
from typing import Final

from cxloop_common.database import Database
from cxloop_common.processor import ProcessingError
from cxloop_journey.store.identities import Connection

_KEY_BYTES: Final = 32


class IdentityKeyError(ProcessingError):
    """The configured key is not the one under which this schema was begun: nothing is processed until it is."""


def key_bytes(text: str) -> bytes:
    """Make a key of BLAKE2b's size out of a configured text of any length."""
    return blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES, person=b"cxloop-identity"
    ).digest()


def _fingerprint(key: bytes) -> bytes:
    return blake2b(b"fingerprint", digest_size=16, key=key).digest()


async def identity_key(connection: Connection, configured: str | None) -> bytes:
    """Give the key: the configured one, else the one kept in the schema, made at the first call.

    Raises IdentityKeyError where the schema was begun with another key: new ids for known customers would part
    them from all that was published under the old ones.
    """
    key = None if configured is None else key_bytes(configured)
    offered = key or secrets.token_bytes(_KEY_BYTES)
    await connection.execute(
        "INSERT INTO identity_key (key, fingerprint) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        None if configured is not None else offered,
        _fingerprint(offered),
    )
    row = await connection.fetchrow("SELECT key, fingerprint FROM identity_key")
    chosen = key or row["key"]
    if chosen is None:
        raise IdentityKeyError(
            "this schema was begun with a configured identity key and none is set now: "
            "set CXLOOP_JOURNEY_IDENTITY_KEY or CXLOOP_JOURNEY_IDENTITY_KEY_FILE to the one it was begun with"
        )
    if _fingerprint(chosen) != row["fingerprint"]:
        raise IdentityKeyError(
            "the configured identity key is not the one this schema was begun with: set the old key again, "
            "or give the service a new schema and replay"
        )
    return chosen


class DeploymentKey:
    """The key, read once a process."""

    def __init__(self, database: Database, configured: str | None) -> None:
        self._database = database
        self._configured = configured
        self._key: bytes | None = None

    async def get(self) -> bytes:
        """Give the key. Raises IdentityKeyError, or what a missing database raises."""
        if self._key is None:
            # A connection of its own: a key made in a batch that is rolled back would never have been.
            pool = await self._database.pool()
            async with pool.acquire() as connection:
                self._key = await identity_key(connection, self._configured)
        return self._key

    async def readiness(self) -> str | None:
        """Say what is wrong with the key, or None."""
        try:
            await self.get()
        except IdentityKeyError as error:
            return str(error)
        return None
