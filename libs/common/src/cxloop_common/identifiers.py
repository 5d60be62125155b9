"""Identifiers of customers, ids of documents and derived ids of events.

An identifier is ``scheme:value``, split at the first colon. Everything here is pure and order-free: the same
text gives the same identifier on every machine, which is what lets events arrive twice and in any order.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

import idna
import phonenumbers

SOURCE_PATTERN: Final = r"[a-z0-9][a-z0-9-]{0,62}"
"""What the name of a configured source looks like; it becomes part of topics, keys and URLs."""

_SOURCE: Final = re.compile(SOURCE_PATTERN)
_QUALIFIED: Final = re.compile(rf"(?P<source>{SOURCE_PATTERN})\.(?P<kind>[a-z][a-z0-9_]{{0,31}})")
_ASCII_DOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_CONTROL_OR_SURROGATE: Final = frozenset({"Cc", "Cs"})
_LONGEST_VALUE: Final = 256
_LONGEST_EMAIL: Final = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets

# What senders write when they have nothing to say. Joining on one of these would merge strangers.
_PLACEHOLDERS: Final = frozenset(
    {"null", "none", "nil", "nan", "undefined", "n/a", "na", "unknown", "anonymous", "anon", "guest"}
    | {"not available", "not provided", "no email", "no name", "[object object]", "true", "false", "?"}
)
_ZEROES: Final = re.compile(r"[0\-_. ]+")
_UNANSWERED_MAILBOXES: Final = frozenset(
    {"noreply", "donotreply", "notreply", "mailerdaemon", "postmaster", "nobody", "bounce", "bounces"}
)


class IdentifierClass(StrEnum):
    """What an identifier may do when customers are told apart."""

    STRONG = "strong"
    """Joins: two strong identifiers in one event belong to one customer."""
    WEAK = "weak"
    """Follows the customer of the strong ones seen with it; never joins two."""
    GROUP = "group"
    """Names a company or household: an attribute of its customers."""
    BLOCKED = "blocked"
    """Means nobody in particular; joins nothing."""


class IdentifierReason(StrEnum):
    """Why a text is no identifier, or why an identifier is blocked."""

    EMPTY = "empty"
    NO_SCHEME = "no_scheme"
    UNKNOWN_SCHEME = "unknown_scheme"
    NO_VALUE = "no_value"
    TOO_LONG = "too_long"
    CONTROL_CHARACTER = "control_character"
    BAD_EMAIL = "bad_email"
    BAD_PHONE = "bad_phone"
    PLACEHOLDER = "placeholder"
    NO_REPLY = "no_reply"


_EXPLANATIONS: Final = {
    IdentifierReason.EMPTY: "the identifier is empty; write scheme:value",
    IdentifierReason.NO_SCHEME: "no colon separates scheme and value; write scheme:value",
    IdentifierReason.UNKNOWN_SCHEME: (
        "the scheme is none of email, phone, user, account, cookie, device, or <source>.<kind>"
    ),
    IdentifierReason.NO_VALUE: "nothing follows the scheme",
    IdentifierReason.TOO_LONG: "the value is too long (256 characters; 254 for an email)",
    IdentifierReason.CONTROL_CHARACTER: "the value holds a control character or half of a surrogate pair",
    IdentifierReason.BAD_EMAIL: "the value is no address of the form local@domain.tld",
    IdentifierReason.BAD_PHONE: "the value is no phone number; write it with + and its country code",
}


class IdentifierError(ValueError):
    """A text that is no identifier. The message never quotes it: it may be a person's address."""

    def __init__(self, reason: IdentifierReason) -> None:
        super().__init__(_EXPLANATIONS.get(reason, reason.value))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Identifier:
    """One normalised identifier; ``str()`` gives the text that events and tables hold."""

    scheme: str
    value: str
    class_: IdentifierClass
    reason: IdentifierReason | None = None
    """Why it is blocked; None unless ``class_`` is blocked."""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"

    @property
    def rank(self) -> int:
        """Give the place in the order of trust: 0 is best; ties are broken by the text."""
        return _rank(self.scheme)


_REGISTERED: Final = {
    "user": (0, IdentifierClass.STRONG),
    "email": (2, IdentifierClass.STRONG),
    "phone": (3, IdentifierClass.STRONG),
    "account": (5, IdentifierClass.GROUP),
    "cookie": (6, IdentifierClass.WEAK),
    "device": (6, IdentifierClass.WEAK),
}
_KINDS: Final = {
    "requester": (1, IdentifierClass.STRONG),
    "account": (5, IdentifierClass.GROUP),
    "company": (5, IdentifierClass.GROUP),
    "organization": (5, IdentifierClass.GROUP),
    "cookie": (6, IdentifierClass.WEAK),
    "device": (6, IdentifierClass.WEAK),
}
_OTHER_KIND: Final = (4, IdentifierClass.STRONG)


@lru_cache(maxsize=1024)
def _rank_and_class(scheme: str) -> tuple[int, IdentifierClass] | None:
    if known := _REGISTERED.get(scheme):
        return known
    if qualified := _QUALIFIED.fullmatch(scheme):
        return _KINDS.get(qualified["kind"], _OTHER_KIND)
    return None


def _rank(scheme: str) -> int:
    known = _rank_and_class(scheme)
    return known[0] if known else len(_REGISTERED)


def is_source_name(text: str) -> bool:
    """Tell whether ``text`` may name a source: lower-case letters, digits and hyphens, 63 at most."""
    return _SOURCE.fullmatch(text) is not None


def normalise(identifier: str, source: str | None = None, *, region: str | None = None) -> Identifier:
    """Bring one identifier into the form in which equal means the same; idempotent.

    ``source`` qualifies a bare ``requester:7``: from zendesk-eu it is ``zendesk-eu.requester:7``.
    ``region`` (ISO 3166, ``DE``) reads phone numbers written without a country code.

    Emails are trimmed, NFKC-normalised and case-folded, their domain written as IDNA A-labels; plus tags
    stay, because some mail systems deliver them to different people. Phones become E.164. Other values keep
    their case: ids of external systems are case-sensitive until proven otherwise.

    Placeholders (``null``, ``0000``) and mailboxes nobody reads (``noreply@``) come back with class blocked
    and their reason. Raises IdentifierError, with a reason, for what is no identifier at all.
    """
    scheme, value, class_ = _split(identifier, source)
    _refuse_unstorable(value)
    if _is_placeholder(value):
        return Identifier(scheme, value.lower(), IdentifierClass.BLOCKED, IdentifierReason.PLACEHOLDER)
    if scheme == "email":
        return _email(value)
    if scheme == "phone":
        return _phone(value, region)
    composed = unicodedata.normalize("NFC", value).strip()
    if composed != value:
        _refuse_unstorable(composed)
    return Identifier(scheme, composed, class_)


def _split(identifier: str, source: str | None) -> tuple[str, str, IdentifierClass]:
    text = identifier.strip()
    if not text:
        raise IdentifierError(IdentifierReason.EMPTY)
    head, colon, tail = text.partition(":")
    if not colon:
        raise IdentifierError(IdentifierReason.NO_SCHEME)
    scheme, value = head.strip().lower(), tail.strip()
    if scheme == "requester" and source is not None:
        scheme = f"{source}.requester"
    known = _rank_and_class(scheme)
    if known is None:
        raise IdentifierError(IdentifierReason.UNKNOWN_SCHEME)
    if not value:
        raise IdentifierError(IdentifierReason.NO_VALUE)
    return scheme, value, known[1]


def _refuse_unstorable(value: str) -> None:
    if len(value) > _LONGEST_VALUE:
        raise IdentifierError(IdentifierReason.TOO_LONG)
    if value.isprintable():  # neither can be printed, and nearly every value can
        return
    if any(unicodedata.category(character) in _CONTROL_OR_SURROGATE for character in value):
        raise IdentifierError(IdentifierReason.CONTROL_CHARACTER)


def _is_placeholder(value: str) -> bool:
    return value.casefold() in _PLACEHOLDERS or _ZEROES.fullmatch(value) is not None


def _fold(text: str) -> str:
    """Apply NFKC and case folding until nothing changes: each can undo the other's work once."""
    while (folded := unicodedata.normalize("NFKC", text).casefold().strip()) != text:
        text = folded
    return text


def _email(value: str) -> Identifier:
    local, at, domain = _fold(value).rpartition("@")
    if not at or not local or "@" in local or any(character.isspace() for character in local):
        raise IdentifierError(IdentifierReason.BAD_EMAIL)
    domain = domain.removesuffix(".")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii").removesuffix(".")
        except UnicodeError as error:
            raise IdentifierError(IdentifierReason.BAD_EMAIL) from error
    if _ASCII_DOMAIN.fullmatch(domain) is None:
        raise IdentifierError(IdentifierReason.BAD_EMAIL)
    address = f"{local}@{domain}"
    if len(address) > _LONGEST_EMAIL:
        raise IdentifierError(IdentifierReason.TOO_LONG)
    mailbox = re.sub(r"[._-]", "", local.partition("+")[0])
    if mailbox in _UNANSWERED_MAILBOXES:
        return Identifier("email", address, IdentifierClass.BLOCKED, IdentifierReason.NO_REPLY)
    if _is_placeholder(local):
        return Identifier("email", address, IdentifierClass.BLOCKED, IdentifierReason.PLACEHOLDER)
    return Identifier("email", address, IdentifierClass.STRONG)


def _e164(value: str, region: str | None) -> tuple[str, phonenumbers.PhoneNumber]:
    # Only the length is checked (possible, not valid): the table of valid ranges changes with every release
    # of the metadata, and the same event must give the same identifier next year.
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException as error:
        raise IdentifierError(IdentifierReason.BAD_PHONE) from error
    if not phonenumbers.is_possible_number(number):
        raise IdentifierError(IdentifierReason.BAD_PHONE)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), number


def _phone(value: str, region: str | None) -> Identifier:
    text, number = _e164(value, region)
    # Behind a country code, some countries' leading zeros go one at a time: what is written once must stay.
    while text.startswith(f"+{number.country_code}0") and (again := _e164(text, None))[0] != text:
        text, number = again
    if len(set(str(number.national_number))) == 1:
        return Identifier("phone", text, IdentifierClass.BLOCKED, IdentifierReason.PLACEHOLDER)
    return Identifier("phone", text, IdentifierClass.STRONG)


def best_ranked(identifiers: Iterable[Identifier | str]) -> str | None:
    """Give the customer hint: the best-ranked identifier, ties by text; None if there is none to use.

    Texts are normalised first. Blocked identifiers and texts that are none are passed over, so that a bad
    one beside a good one changes nothing. The order of the argument does not matter.
    """
    usable: list[tuple[int, str]] = []
    for candidate in identifiers:
        try:
            identifier = normalise(candidate) if isinstance(candidate, str) else candidate
        except IdentifierError:
            continue
        if identifier.class_ is not IdentifierClass.BLOCKED:
            usable.append((identifier.rank, str(identifier)))
    return min(usable)[1] if usable else None


def mask(identifier: Identifier | str) -> str:
    """Shorten an identifier for cards and screens.

    Gives ``email:a***@e***.com``, ``phone:+49***21``, ``user:4***``; a text without a colon is masked whole.
    """
    scheme, colon, value = str(identifier).partition(":")
    if not colon or not value:
        return "***"
    if scheme == "email" and "@" in value:
        local, _, domain = value.rpartition("@")
        name, dot, top = domain.rpartition(".")
        return f"email:{local[:1]}***@{name[:1]}***{dot}{top}"
    if scheme == "phone":
        return f"phone:{value[:3]}***{value[-2:]}" if len(value) > len("+49123456") else "phone:***"
    return f"{scheme}:{value[:1]}***"


class DocumentKind(StrEnum):
    """What a document id names."""

    TICKET = "ticket"
    RESPONSE = "response"
    SEND = "send"
    """A survey that was sent, where the sender does not tell which response it will become."""


class DocumentId(NamedTuple):
    """The parts of a document id, decoded."""

    kind: DocumentKind
    source: str
    id: str


def document_id(kind: DocumentKind | str, source: str, id: str) -> str:  # noqa: A002 - the field's own name
    """Join the parts of a document id: ``ticket:zendesk-eu:4711``; source and id are percent-encoded.

    Raises ValueError for an unknown kind, an empty source or an empty id.
    """
    if not source or not id:
        raise ValueError("a document id needs a source and an id")
    return f"{DocumentKind(kind)}:{_encode(source)}:{_encode(id)}"


def parse_document_id(text: str) -> DocumentId:
    """Take a document id apart; the inverse of `document_id`.

    Raises ValueError for anything that `document_id` does not write, so that one document has one spelling.
    """
    kind, _, rest = text.partition(":")
    source, _, id_ = rest.partition(":")
    try:
        parts = DocumentId(DocumentKind(kind), _decode(source), _decode(id_))
        spelt = document_id(*parts)
    except ValueError as error:
        raise ValueError("not a document id; write ticket:<source>:<id> or response:<source>:<id>") from error
    if spelt != text:
        raise ValueError("not a document id in its one spelling: percent-encode source and id")
    return parts


# Senders' JSON can hold half a surrogate pair; it must not stop a batch, so it is encoded like other text.
def _encode(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


def _decode(text: str) -> str:
    return unquote(text, errors="surrogatepass")


def derive_id(*parts: str | bytes) -> str:
    """Derive an id (32 hex digits) from its source: BLAKE2b-128 over length-prefixed parts.

    The prefix makes ``("ab", "c")`` and ``("a", "bc")`` differ. Text counts as its UTF-8 bytes.
    Raises ValueError without parts.
    """
    if not parts:
        raise ValueError("an id is derived from at least one part")
    prefixed: list[bytes] = []
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        prefixed += (len(data).to_bytes(8, "big"), data)
    return blake2b(b"".join(prefixed), digest_size=16).hexdigest()
