"""Identifiers, document ids and derived ids."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cxloop_common.identifiers import (
    DocumentKind,
    IdentifierClass,
    IdentifierError,
    IdentifierReason,
    best_ranked,
    derive_id,
    document_id,
    is_source_name,
    mask,
    normalise,
    parse_document_id,
)

schemes = st.sampled_from(
    ["email", "phone", "user", "account", "cookie", "device", "acme.requester", "acme.thing"]
)
addresses = st.builds(
    "{}@{}.{}".format,
    st.text(min_size=1, max_size=12),
    st.text(min_size=1, max_size=12),
    st.sampled_from(["com", "DE", "co.uk", "ελ"]),
)
numbers = st.from_regex(r"\+[1-9][0-9 ()-]{5,16}", fullmatch=True)
values = st.one_of(st.text(max_size=40), addresses, numbers)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("email: Ana.Lima@Example.COM ", "email:ana.lima@example.com"),
        ("EMAIL:ana+shop@example.com", "email:ana+shop@example.com"),
        ("email:ana@bücher.example", "email:ana@xn--bcher-kva.example"),
        ("email:ana@BÜCHER.example.", "email:ana@xn--bcher-kva.example"),
        ("email:ana＠example.com", "email:ana@example.com"),  # noqa: RUF001 - a full-width sign is the point
        ("phone:+49 (30) 901820", "phone:+4930901820"),
        ("phone:+390612345678", "phone:+390612345678"),
        ("user: Ana:7 ", "user:Ana:7"),
        ("account:ACME", "account:ACME"),
        ("zendesk-eu.requester:123", "zendesk-eu.requester:123"),
        ("Zendesk-EU.requester:123", "zendesk-eu.requester:123"),
    ],
)
def test_equal_identifiers_get_one_spelling(given_text: str, expected: str) -> None:
    assert str(normalise(given_text)) == expected


def test_a_region_reads_phone_numbers_without_a_country_code() -> None:
    assert str(normalise("phone:030 901820", region="DE")) == "phone:+4930901820"


def test_a_bare_requester_belongs_to_the_source_that_names_it() -> None:
    assert str(normalise("requester:7", "zendesk-eu")) == "zendesk-eu.requester:7"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", IdentifierReason.EMPTY),
        ("   ", IdentifierReason.EMPTY),
        ("ana@example.com", IdentifierReason.NO_SCHEME),
        ("emial:ana@example.com", IdentifierReason.UNKNOWN_SCHEME),
        ("requester:7", IdentifierReason.UNKNOWN_SCHEME),
        ("Ünix.requester:7", IdentifierReason.UNKNOWN_SCHEME),
        (":7", IdentifierReason.UNKNOWN_SCHEME),
        ("user: ", IdentifierReason.NO_VALUE),
        ("user:" + "7" * 257, IdentifierReason.TOO_LONG),
        ("email:" + "a" * 250 + "@example.com", IdentifierReason.TOO_LONG),
        ("email:" + "a" * 243 + "@example.com", IdentifierReason.TOO_LONG),
        ("user:a\x00b", IdentifierReason.CONTROL_CHARACTER),
        ("user:a\ud800b", IdentifierReason.CONTROL_CHARACTER),
        ("email:ana", IdentifierReason.BAD_EMAIL),
        ("email:@example.com", IdentifierReason.BAD_EMAIL),
        ("email:ana@localhost", IdentifierReason.BAD_EMAIL),
        ("email:ana maria@example.com", IdentifierReason.BAD_EMAIL),
        ("email:a@b@example.com", IdentifierReason.BAD_EMAIL),
        ("email:ana@-example-.com", IdentifierReason.BAD_EMAIL),
        ("phone:030901820", IdentifierReason.BAD_PHONE),
        ("phone:+491", IdentifierReason.BAD_PHONE),
        ("phone:call me", IdentifierReason.BAD_PHONE),
    ],
)
def test_what_is_no_identifier_is_refused_with_its_reason(text: str, reason: IdentifierReason) -> None:
    with pytest.raises(IdentifierError) as caught:
        normalise(text)
    assert caught.value.reason is reason
    assert "ana" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("user:null", IdentifierReason.PLACEHOLDER),
        ("user:None", IdentifierReason.PLACEHOLDER),
        ("acme.requester:0", IdentifierReason.PLACEHOLDER),
        ("user:00000000-0000-0000-0000-000000000000", IdentifierReason.PLACEHOLDER),
        ("email:null", IdentifierReason.PLACEHOLDER),
        ("email:unknown@example.com", IdentifierReason.PLACEHOLDER),
        ("phone:+4911111111", IdentifierReason.PLACEHOLDER),
        ("email:No-Reply@example.com", IdentifierReason.NO_REPLY),
        ("email:no.reply+77@example.com", IdentifierReason.NO_REPLY),
        ("email:mailer-daemon@example.com", IdentifierReason.NO_REPLY),
    ],
)
def test_nobody_in_particular_is_blocked_with_its_reason(text: str, reason: IdentifierReason) -> None:
    identifier = normalise(text)
    assert (identifier.class_, identifier.reason) == (IdentifierClass.BLOCKED, reason)


@pytest.mark.parametrize(
    ("text", "class_"),
    [
        ("user:7", IdentifierClass.STRONG),
        ("acme.requester:7", IdentifierClass.STRONG),
        ("acme.contact:7", IdentifierClass.STRONG),
        ("account:7", IdentifierClass.GROUP),
        ("acme.organization:7", IdentifierClass.GROUP),
        ("cookie:7", IdentifierClass.WEAK),
        ("acme.device:7", IdentifierClass.WEAK),
    ],
)
def test_the_scheme_decides_what_an_identifier_may_join(text: str, class_: IdentifierClass) -> None:
    assert normalise(text).class_ is class_


@example("phone", "+200000000000")
@given(schemes, values)
def test_normalising_twice_changes_nothing(scheme: str, value: str) -> None:
    try:
        once = normalise(f"{scheme}:{value}")
    except IdentifierError:
        return
    assert normalise(str(once)) == once


def test_the_customer_hint_follows_the_order_of_trust() -> None:
    best_first = [
        "user:7",
        "acme.requester:7",
        "email:ana@example.com",
        "phone:+4930901820",
        "acme.contact:7",
        "account:7",
        "cookie:7",
    ]
    for place, expected in enumerate(best_first):
        assert best_ranked(reversed(best_first[place:])) == expected


@given(st.permutations(["user:null", "email:b@example.com", "email:a@example.com", "nonsense", "cookie:1"]))
def test_the_customer_hint_does_not_depend_on_order_or_on_bad_neighbours(texts: list[str]) -> None:
    assert best_ranked(texts) == "email:a@example.com"


def test_there_is_no_customer_hint_without_a_usable_identifier() -> None:
    assert best_ranked(["user:null", "email:noreply@example.com"]) is None
    assert best_ranked([]) is None


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("email:ana@example.com", "email:a***@e***.com"),
        ("email:ana@shop.example.co.uk", "email:a***@s***.uk"),
        ("phone:+4930901820", "phone:+49***20"),
        ("phone:+49301", "phone:***"),
        ("user:4711", "user:4***"),
        ("nonsense", "***"),
    ],
)
def test_a_masked_identifier_shows_little(text: str, masked: str) -> None:
    assert mask(text) == masked


@given(st.sampled_from(DocumentKind), st.text(min_size=1), st.text(min_size=1))
def test_a_document_id_round_trips_any_text(kind: DocumentKind, source: str, id_: str) -> None:
    text = document_id(kind, source, id_)
    assert text.isascii()
    assert text.count(":") == 2
    assert parse_document_id(text) == (kind, source, id_)


def test_a_document_id_survives_half_a_surrogate_pair() -> None:
    assert parse_document_id(document_id("ticket", "acme", "7\ud800")).id == "7\ud800"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ticket",
        "ticket:acme",
        "ticket:acme:",
        "ticket::7",
        "case:acme:7",
        "ticket:acme:7:8",
        "ticket:acme:%37",
        "ticket:acme:a b",
        "ticket:acme:%c3%bc",
    ],
)
def test_a_document_id_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="not a document id"):
        parse_document_id(text)


def test_a_document_id_needs_all_its_parts() -> None:
    with pytest.raises(ValueError, match="needs a source and an id"):
        document_id("ticket", "acme", "")


@given(
    st.lists(st.text(max_size=4), min_size=1, max_size=4),
    st.lists(st.text(max_size=4), min_size=1, max_size=4),
)
def test_derived_ids_are_equal_for_equal_parts_only(left: list[str], right: list[str]) -> None:
    assert (derive_id(*left) == derive_id(*right)) == (left == right)


def test_a_derived_id_stays_what_it_was() -> None:
    assert derive_id("zendesk-eu", "4711", b"created") == "d373486441f9b0b1d3ba27d9e434694a"
    assert derive_id("ü") == derive_id("ü".encode())


def test_an_id_is_derived_from_something() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        derive_id()


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("zendesk-eu", True),
        ("7", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("-a", False),
        ("A", False),
        ("a.b", False),
    ],
)
def test_source_names_fit_topics_keys_and_urls(name: str, fits: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_source_name(name) is fits
