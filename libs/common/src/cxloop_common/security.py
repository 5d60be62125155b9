"""Bearer tokens of the service APIs: who may call, with which scope, for which sources.

Tokens are random secrets, so one SHA-256 keeps them: there is no password to stretch. With no tokens
configured every protected call is refused, and the answer says how to configure them.
"""

import hashlib
import hmac
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cxloop_common.identifiers import is_source_name
from cxloop_common.telemetry import get_logger

_LEAST_TOKEN_LENGTH: Final = 16
_BEARER: Final = re.compile(r"bearer +(?P<token>[\x21-\x7e]+) *", re.IGNORECASE)

HOW_TO_CONFIGURE: Final = (
    "No API tokens are configured. Set CXLOOP_API_TOKENS_FILE to a YAML file "
    "(tokens: [{name: ops, token: <at least 16 random characters>, scopes: [operate]}]) "
    "or CXLOOP_API_TOKENS to the same list, and start again."
)


class Scope(StrEnum):
    """What a token may do."""

    READ = "read"
    """Look at anything the APIs return."""
    WRITE = "write"
    """Send events to /v1/events, for the sources of the token."""
    OPERATE = "operate"
    """Work cases, replay, release partitions; includes read."""
    ADMIN = "admin"
    """Everything."""


_IMPLIED: Final[Mapping[Scope, frozenset[Scope]]] = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.WRITE: frozenset({Scope.WRITE}),
    Scope.OPERATE: frozenset({Scope.OPERATE, Scope.READ}),
    Scope.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: the name of the token, its scopes with all they imply, and the sources it may write for."""

    name: str
    scopes: frozenset[Scope]
    sources: frozenset[str] = frozenset()

    def allows(self, scope: Scope) -> bool:
        """Tell whether the token carries the scope, itself or by implication."""
        return scope in self.scopes

    def may_write(self, source: str) -> bool:
        """Tell whether the token may send events in the name of ``source``."""
        return Scope.WRITE in self.scopes and ("*" in self.sources or source in self.sources)


class AuthenticationFailure(StrEnum):
    """Why no principal came out of an Authorization header."""

    NOT_CONFIGURED = "not_configured"
    MISSING = "missing"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"

    @property
    def detail(self) -> str:
        """Say what to do about it, without quoting the header."""
        return _FAILURE_DETAILS[self]


_FAILURE_DETAILS: Final[Mapping[AuthenticationFailure, str]] = {
    AuthenticationFailure.NOT_CONFIGURED: HOW_TO_CONFIGURE,
    AuthenticationFailure.MISSING: "Send a token: Authorization: Bearer <token>.",
    AuthenticationFailure.MALFORMED: "The Authorization header is not of the form: Bearer <token>.",
    AuthenticationFailure.UNKNOWN: "The token is not one of this service's tokens.",
}


class TokenConfigError(ValueError):
    """The configured tokens cannot be used; the message names the file and the entry, never a token."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$")
    token: SecretStr | None = None
    token_file: Path | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{64}$")
    scopes: frozenset[Scope] = Field(min_length=1)
    sources: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Token:
    digest: bytes
    principal: Principal


class TokenStore:
    """The tokens in force, hashed. Immutable: a new configuration is a new store."""

    def __init__(self, tokens: Iterable[tuple[str, Principal]] = ()) -> None:
        """Take pairs of plain token and principal; `load` is the way in for configuration."""
        self._tokens = tuple(_Token(_digest(token), principal) for token, principal in tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    @classmethod
    def load(cls, file: Path | str | None = None, inline: SecretStr | str | None = None) -> "TokenStore":
        """Read the tokens of a YAML file, and of an environment variable's text in JSON or YAML.

        The text is ``{tokens: [...]}`` or the bare list. Raises TokenConfigError naming file and entry.
        """
        tokens: list[_Token] = []
        if file is not None and str(file):
            tokens += _read_file(Path(file))
        text = inline.get_secret_value() if isinstance(inline, SecretStr) else inline
        if text and text.strip():
            tokens += _entries(text, "CXLOOP_API_TOKENS", Path())
        _refuse_duplicates(tokens)
        store = cls()
        store._tokens = tuple(tokens)
        return store

    def authenticate(self, header: str | None) -> Principal | AuthenticationFailure:
        """Give the principal of an Authorization header, or why there is none.

        Every token is compared, in constant time, so that the time taken does not tell which one was near.
        """
        if not self._tokens:
            return AuthenticationFailure.NOT_CONFIGURED
        if header is None or not header.strip():
            return AuthenticationFailure.MISSING
        match = _BEARER.fullmatch(header)
        if match is None:
            return AuthenticationFailure.MALFORMED
        digest = _digest(match["token"])
        found: Principal | None = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token.principal
        return found if found is not None else AuthenticationFailure.UNKNOWN


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _read_file(path: Path) -> list[_Token]:
    text = _read_secret(path, f"{path}")
    return _entries(text, str(path), path.parent)


def _read_secret(path: Path, where: str) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TokenConfigError(f"{where}: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TokenConfigError(f"{where}: {path} is not UTF-8 text") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        get_logger(__name__).warning("token_file_open_to_others", path=str(path), hint="chmod 600")
    return text


def _entries(text: str, where: str, folder: Path) -> list[_Token]:
    document = _parse(text, where)
    if isinstance(document, dict):
        mapping = cast("dict[Any, Any]", document)
        if unknown := sorted(str(key) for key in mapping if key != "tokens"):
            raise TokenConfigError(f"{where}: unknown key {unknown[0]!r}; the file holds one key, tokens")
        document = mapping.get("tokens")
    if not isinstance(document, list):
        raise TokenConfigError(f"{where}: expected tokens: [...], a list of entries")
    entries = cast("list[object]", document)
    return [_token(entry, f"{where}: tokens[{index}]", folder) for index, entry in enumerate(entries)]


def _parse(text: str, where: str) -> object:
    yaml: Any = YAML(typ="safe", pure=True)
    try:
        return cast("object", yaml.load(StringIO(text)))
    except YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        raise TokenConfigError(f"{where}: not valid YAML or JSON{line}") from None


def _token(raw: object, where: str, folder: Path) -> _Token:
    try:
        entry = _Entry.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise TokenConfigError(f"{where}: {field + ': ' if field else ''}{first['msg']}") from None
    where = f"{where} ({entry.name})"
    if sum(secret is not None for secret in (entry.token, entry.token_file, entry.sha256)) != 1:
        raise TokenConfigError(f"{where}: give exactly one of token, token_file, sha256")
    return _Token(_entry_digest(entry, where, folder), _principal(entry, where))


def _entry_digest(entry: _Entry, where: str, folder: Path) -> bytes:
    if entry.sha256 is not None:
        return bytes.fromhex(entry.sha256)
    if entry.token_file is not None:
        token = _read_secret(folder / entry.token_file, where).strip()
    else:
        token = entry.token.get_secret_value().strip() if entry.token else ""
    if len(token) < _LEAST_TOKEN_LENGTH:
        raise TokenConfigError(f"{where}: a token has at least {_LEAST_TOKEN_LENGTH} characters")
    if not all("\x21" <= character <= "\x7e" for character in token):
        raise TokenConfigError(f"{where}: a token holds printable ASCII without spaces, to fit a header")
    return _digest(token)


def _principal(entry: _Entry, where: str) -> Principal:
    scopes = frozenset[Scope]().union(*(_IMPLIED[scope] for scope in entry.scopes))
    sources = entry.sources
    if Scope.ADMIN in scopes and not sources:
        sources = frozenset({"*"})
    if Scope.WRITE in scopes and not sources:
        raise TokenConfigError(f'{where}: scope write needs sources: [...]; ["*"] allows every source')
    for source in sorted(sources):
        if source != "*" and not is_source_name(source):
            raise TokenConfigError(f"{where}: {source!r} is no source name (a-z, 0-9, hyphen; 63 at most)")
    return Principal(entry.name, scopes, sources)


def _refuse_duplicates(tokens: list[_Token]) -> None:
    names: set[str] = set()
    digests: dict[bytes, str] = {}
    for token in tokens:
        name = token.principal.name
        if name in names:
            raise TokenConfigError(f"two token entries are named {name!r}; names tell callers apart")
        if token.digest in digests:
            raise TokenConfigError(f"entries {digests[token.digest]!r} and {name!r} hold the same token")
        names.add(name)
        digests[token.digest] = name
