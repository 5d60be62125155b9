"""The dependency that asks for a token with a scope."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Annotated, Final

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request

from cxloop_common.http.problems import Problem
from cxloop_common.security import AuthenticationFailure, Principal, Scope, TokenStore

# Only for the OpenAPI document: the header itself is read below, where a malformed one is told from none.
_BEARER: Final = HTTPBearer(
    auto_error=False, description="A token of this service; see Security in the README"
)


def authorise(tokens: TokenStore, header: str | None, scope: Scope) -> Principal:
    """Give the caller of an Authorization header.

    Raises Problem 401 for a missing or wrong token and 403 for one without the scope.
    """
    caller = tokens.authenticate(header)
    if isinstance(caller, AuthenticationFailure):
        challenge = 'Bearer realm="cxloop"'
        if caller in (AuthenticationFailure.UNKNOWN, AuthenticationFailure.MALFORMED):
            challenge += ', error="invalid_token"'
        raise Problem(401, detail=caller.detail, headers={"WWW-Authenticate": challenge})
    if not caller.allows(scope):
        raise Problem(
            403,
            detail=f"This call needs the scope {scope}; the token {caller.name} does not carry it.",
            headers={
                "WWW-Authenticate": f'Bearer realm="cxloop", error="insufficient_scope", scope="{scope}"'
            },
        )
    return caller


@cache  # one function a scope, so that FastAPI asks once however many dependencies name it
def require(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    """Give the dependency that lets only tokens with ``scope`` pass: ``Depends(require(Scope.READ))``."""

    async def caller(
        request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> Principal:
        return authorise(request.app.state.tokens, request.headers.get("authorization"), scope)

    return caller
