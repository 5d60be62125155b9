"""Readiness: named checks that all have to pass before a service takes work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import FastAPI

from cxloop_common.http.problems import Problem
from cxloop_common.telemetry import error_fields, get_logger

ReadinessCheck = Callable[[], Awaitable[str | None]]
"""Answers None if its part is fine, or a short sentence saying what is wrong, without customer data."""

PATIENCE_S: Final = 2.0
"""Time a check gets; below the timeout of any prober."""


class Readiness:
    """The checks of one service; they run together, each within ``patience_s``."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._checks: dict[str, ReadinessCheck] = {}

    def register(self, name: str, check: ReadinessCheck) -> None:
        """Add a check. Raises ValueError if the name is taken: two checks of a name would hide one."""
        if name in self._checks:
            raise ValueError(f"a readiness check named {name!r} is registered already")
        self._checks[name] = check

    async def failures(self) -> dict[str, str]:
        """Run all checks and give what is wrong by name; empty when the service is ready."""
        names = list(self._checks)
        answers = await asyncio.gather(*(self._run(name, self._checks[name]) for name in names))
        return {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}

    async def answer(self) -> dict[str, object]:
        """Give the body of `/readyz`. Raises Problem 503 naming the parts that fail."""
        if failing := await self.failures():
            raise Problem(
                503,
                title="Not ready",
                detail=f"Not ready: {', '.join(failing)}.",
                errors=[{"part": name, "detail": sentence} for name, sentence in failing.items()],
                headers={"Retry-After": "5"},
            )
        return {"status": "ready", "checks": dict.fromkeys(self._checks, "ok")}

    async def _run(self, name: str, check: ReadinessCheck) -> str | None:
        try:
            async with asyncio.timeout(self._patience_s):
                return await check()
        except TimeoutError:
            return f"no answer within {self._patience_s:g} s"
        except Exception as error:  # noqa: BLE001 - a check that breaks is a part that is not ready, and is named
            get_logger(__name__).warning("readiness_check_broke", check=name, **error_fields(error))
            return f"the check itself failed with {type(error).__name__}"


def readiness(app: FastAPI) -> Readiness:
    """Give the checks of an app made by `create_app`."""
    checks = app.state.readiness
    assert isinstance(checks, Readiness)  # noqa: S101 - narrows an untyped attribute that create_app sets
    return checks
