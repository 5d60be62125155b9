"""Tokens of the service APIs."""

import hashlib
import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cxloop_common.security import AuthenticationFailure, Principal, Scope, TokenConfigError, TokenStore

TOKEN = "correct-horse-battery"


def entry(**fields: object) -> dict[str, object]:
    return {"name": "ops", "token": TOKEN, "scopes": ["read"], **fields}


def load(*entries: dict[str, object]) -> TokenStore:
    return TokenStore.load(inline=json.dumps({"tokens": entries}))


def caller(store: TokenStore, token: str = TOKEN) -> Principal:
    principal = store.authenticate(f"Bearer {token}")
    assert isinstance(principal, Principal)
    return principal


@pytest.mark.parametrize(
    ("header", "failure"),
    [
        (None, AuthenticationFailure.MISSING),
        ("  ", AuthenticationFailure.MISSING),
        (TOKEN, AuthenticationFailure.MALFORMED),
        ("Basic b3BzOg==", AuthenticationFailure.MALFORMED),
        (f"Bearer {TOKEN} {TOKEN}", AuthenticationFailure.MALFORMED),
        ("Bearer nearly-horse-battery", AuthenticationFailure.UNKNOWN),
        (f"Bearer {TOKEN}x", AuthenticationFailure.UNKNOWN),
    ],
)
def test_a_call_without_a_known_token_fails_by_name(
    header: str | None, failure: AuthenticationFailure
) -> None:
    assert load(entry()).authenticate(header) is failure
    assert TOKEN not in failure.detail


def test_without_configured_tokens_nobody_passes_and_the_answer_says_how() -> None:
    failure = TokenStore.load().authenticate(f"Bearer {TOKEN}")
    assert failure is AuthenticationFailure.NOT_CONFIGURED
    assert "CXLOOP_API_TOKENS_FILE" in failure.detail


def test_the_word_bearer_may_be_in_any_case() -> None:
    assert isinstance(load(entry()).authenticate(f"bearer {TOKEN}"), Principal)


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["read"], {"read"}),
        (["write"], {"write"}),
        (["operate"], {"operate", "read"}),
        (["admin"], {"read", "write", "operate", "admin"}),
        (["read", "write"], {"read", "write"}),
    ],
)
def test_scopes_imply_what_they_need_and_no_more(scopes: list[str], allowed: set[str]) -> None:
    principal = caller(load(entry(scopes=scopes, sources=["shop"])))
    assert {scope for scope in Scope if principal.allows(scope)} == allowed


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ({"scopes": ["write"], "sources": ["shop"]}, {"shop"}),
        ({"scopes": ["write"], "sources": ["*"]}, {"shop", "crm"}),
        ({"scopes": ["admin"]}, {"shop", "crm"}),
        ({"scopes": ["read"], "sources": ["shop"]}, set[str]()),
    ],
)
def test_a_token_writes_for_its_own_sources_only(fields: dict[str, object], may: set[str]) -> None:
    principal = caller(load(entry(**fields)))
    assert {source for source in ("shop", "crm") if principal.may_write(source)} == may


def test_tokens_come_from_the_file_from_files_beside_it_and_as_hashes(tmp_path: Path) -> None:
    (tmp_path / "ops.token").write_text(TOKEN + "\n")
    hashed = hashlib.sha256(b"hashed-token-of-ours").hexdigest()
    file = tmp_path / "tokens.yaml"
    file.write_text(
        f"tokens:\n- {{name: ops, token_file: ops.token, scopes: [read]}}\n"
        f"- {{name: bi, sha256: {hashed}, scopes: [read]}}\n"
    )
    store = TokenStore.load(file, '[{"name": "env", "token": "from-the-environment", "scopes": ["read"]}]')
    assert caller(store).name == "ops"
    assert caller(store, "hashed-token-of-ours").name == "bi"
    assert caller(store, "from-the-environment").name == "env"
    assert len(store) == 3


def test_a_file_that_others_can_read_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text(json.dumps({"tokens": [entry()]}))
    for mode, warnings in ((0o644, 1), (0o600, 0)):
        file.chmod(mode)
        with capture_logs() as logs:
            TokenStore.load(file)
        assert [log["event"] for log in logs] == ["token_file_open_to_others"] * warnings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens: [", "not valid YAML or JSON at line"),
        ("tokens: 7", "expected tokens"),
        ("token: []", "unknown key 'token'"),
        ("[7]", r"tokens\[0\]: Input should be"),
        ("[{name: ops, token: short, scopes: [read]}]", r"tokens\[0\] \(ops\): a token has at least 16"),
        ("[{name: ops, scopes: [read]}]", "give exactly one of token, token_file, sha256"),
        (f"[{{name: ops, token: {TOKEN}, sha256: {'a' * 64}, scopes: [read]}}]", "exactly one of"),
        (f"[{{name: ops, token: {TOKEN}, scopes: [reed]}}]", r"scopes\.0: Input should be 'read'"),
        (f"[{{name: ops, token: {TOKEN}, scopes: []}}]", r"tokens\[0\]: scopes"),
        (f"[{{name: ops, token: {TOKEN}, scope: read}}]", r"tokens\[0\]: scope"),
        (f"[{{name: ops, token: {TOKEN}, scopes: [write]}}]", "scope write needs sources"),
        (f"[{{name: ops, token: {TOKEN}, scopes: [write], sources: [A]}}]", "no source name"),
        ("[{name: ops, token: pässwörter-sind-toll, scopes: [read]}]", "printable ASCII"),
        ("[{name: ops, token_file: gone, scopes: [read]}]", "cannot read"),
    ],
)
def test_a_bad_entry_is_named_and_never_quoted(text: str, message: str) -> None:
    with pytest.raises(TokenConfigError, match=message) as caught:
        TokenStore.load(inline=text)
    assert "CXLOOP_API_TOKENS" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_two_entries_share_neither_name_nor_token() -> None:
    with pytest.raises(TokenConfigError, match="two token entries are named 'ops'"):
        load(entry(), entry(token="another-token-of-ours"))
    with pytest.raises(TokenConfigError, match="'ops' and 'bi' hold the same token"):
        load(entry(), entry(name="bi"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenConfigError, match=r"tokens\.yaml: cannot read"):
        TokenStore.load(tmp_path / "tokens.yaml")


def test_a_store_does_not_show_its_tokens() -> None:
    assert TOKEN not in repr(vars(load(entry())))
