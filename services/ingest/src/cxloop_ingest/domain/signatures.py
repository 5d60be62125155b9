"""Whether a request was signed by its sender: over the raw bytes, against every live secret, within a window.

`sign` is the other side of `verify`: what that sender would have put into the headers.
Sources: the senders' webhook documentation; Standard Webhooks specification 1.0 for `v1` signatures.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

ZENDESK_TEST_SECRET: Final = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ=="  # noqa: S105  # published by Zendesk for test sends
DEFAULT_TOLERANCE_S: Final = 300.0

ZENDESK_SIGNATURE: Final = b"x-zendesk-webhook-signature"
ZENDESK_TIMESTAMP: Final = b"x-zendesk-webhook-signature-timestamp"
DELIGHTED_SIGNATURE: Final = b"x-delighted-webhook-signature"
WEBHOOK_ID: Final = b"webhook-id"
WEBHOOK_TIMESTAMP: Final = b"webhook-timestamp"
WEBHOOK_SIGNATURE: Final = b"webhook-signature"

AUTHENTICATION_HEADERS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        ZENDESK_SIGNATURE.decode(),
        DELIGHTED_SIGNATURE.decode(),
        WEBHOOK_SIGNATURE.decode(),
    }
)
"""Headers that never leave intake, whatever a source asks to keep."""


class Scheme(StrEnum):
    """How a sender proves itself."""

    ZENDESK = "zendesk"
    DELIGHTED = "delighted"
    STANDARD_WEBHOOKS = "standardwebhooks"
    HEADER = "header"
    """A secret that the sender repeats in a header."""
    NONE = "none"
    """Nothing is proven: everybody who knows the address may send."""


class Verdict(StrEnum):
    """What verification found."""

    VALID = "valid"
    TEST = "test"
    """Signed with Zendesk's published test secret, and the source allows that."""
    MISSING = "missing"
    MALFORMED = "malformed"
    MISMATCH = "mismatch"
    EXPIRED = "expired"
    FUTURE = "future"


EXPLANATIONS: Final[Mapping[Verdict, str]] = {
    Verdict.MISSING: "The request carries no signature of the kind that this source signs with.",
    Verdict.MALFORMED: "The signature or its timestamp is not of the form that this source signs with.",
    Verdict.MISMATCH: "The signature is not one of this source's secrets over these bytes.",
    Verdict.EXPIRED: "The signature's timestamp is older than this source accepts.",
    Verdict.FUTURE: "The signature's timestamp lies further ahead than this source accepts.",
}


class SecretError(ValueError):
    """A secret that its scheme cannot use; the message never quotes it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The scheme of a source and its live secrets; several while one replaces another."""

    scheme: Scheme
    keys: tuple[bytes, ...] = ()
    """Ready for the HMAC, or for comparison where the scheme repeats the secret; see `key_of`."""
    header: bytes = b""
    """Lower-case name of the header that carries the secret (scheme `header`)."""
    tolerance_s: float = DEFAULT_TOLERANCE_S

    def __repr__(self) -> str:
        """Show no key."""
        return f"Credentials({self.scheme}, {len(self.keys)} keys)"


def key_of(scheme: Scheme, secret: str) -> bytes:
    """Turn a configured secret into the scheme's key. Raises SecretError."""
    secret = secret.strip()
    if not secret:
        raise SecretError("the secret is empty")
    if scheme is Scheme.STANDARD_WEBHOOKS:
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            raise SecretError("the secret is not whsec_ and base64") from None
        if not key:
            raise SecretError("the secret is empty")
        return key
    if scheme is Scheme.ZENDESK and secret == ZENDESK_TEST_SECRET:
        raise SecretError("the secret is Zendesk's published test secret; say allow_test: true instead")
    return secret.encode()


def verify(
    credentials: Credentials,
    headers: Mapping[bytes, bytes],
    body: bytes,
    now: float,
    *,
    allow_test: bool = False,
) -> Verdict:
    """Judge a request by its headers (lower-case names) and its raw body; `now` is in epoch seconds.

    The window is looked at last, so that only a sender learns that its clock is wrong. Every key is compared,
    in constant time.
    """
    match credentials.scheme:
        case Scheme.NONE:
            return Verdict.VALID
        case Scheme.ZENDESK:
            return _verify_zendesk(credentials, headers, body, now, allow_test=allow_test)
        case Scheme.DELIGHTED:
            return _verify_delighted(credentials, headers, body)
        case Scheme.STANDARD_WEBHOOKS:
            return _verify_standard(credentials, headers, body, now)
        case Scheme.HEADER:
            return _verify_header(credentials, headers)


def _matches(keys: tuple[bytes, ...], message: bytes, candidates: tuple[bytes, ...]) -> bool:
    found = False
    for key in keys:
        digest = hmac.digest(key, message, "sha256")
        for candidate in candidates:
            found |= hmac.compare_digest(digest, candidate)
    return found


def _window(signed_at: float, now: float, tolerance_s: float) -> Verdict:
    if now - signed_at > tolerance_s:
        return Verdict.EXPIRED
    if signed_at - now > tolerance_s:
        return Verdict.FUTURE
    return Verdict.VALID


def _base64(text: bytes) -> bytes | None:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return None


def _verify_zendesk(
    credentials: Credentials, headers: Mapping[bytes, bytes], body: bytes, now: float, *, allow_test: bool
) -> Verdict:
    written, timestamp = headers.get(ZENDESK_SIGNATURE), headers.get(ZENDESK_TIMESTAMP)
    if not written or not timestamp:
        return Verdict.MISSING
    signature = _base64(written)
    signed_at = _iso_seconds(timestamp)
    if signature is None or signed_at is None:
        return Verdict.MALFORMED
    message = timestamp + body
    test = _matches((ZENDESK_TEST_SECRET.encode(),), message, (signature,)) if allow_test else False
    if not _matches(credentials.keys, message, (signature,)) and not test:
        return Verdict.MISMATCH
    verdict = _window(signed_at, now, credentials.tolerance_s)
    return Verdict.TEST if test and verdict is Verdict.VALID else verdict


def _iso_seconds(timestamp: bytes) -> float | None:
    try:
        at = datetime.fromisoformat(timestamp.decode("ascii"))
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _verify_delighted(credentials: Credentials, headers: Mapping[bytes, bytes], body: bytes) -> Verdict:
    written = headers.get(DELIGHTED_SIGNATURE)
    if not written:
        return Verdict.MISSING
    algorithm, _, hexadecimal = written.partition(b"=")
    try:
        signature = bytes.fromhex(hexadecimal.decode("ascii"))
    except ValueError:
        return Verdict.MALFORMED
    if algorithm != b"sha256" or len(signature) != hashlib.sha256().digest_size:
        return Verdict.MALFORMED
    # Delighted sends no timestamp: there is no window to hold it to, and a replay is the same delivery.
    return Verdict.VALID if _matches(credentials.keys, body, (signature,)) else Verdict.MISMATCH


def _verify_standard(
    credentials: Credentials, headers: Mapping[bytes, bytes], body: bytes, now: float
) -> Verdict:
    identity, timestamp = headers.get(WEBHOOK_ID), headers.get(WEBHOOK_TIMESTAMP)
    written = headers.get(WEBHOOK_SIGNATURE)
    if not identity or not timestamp or not written:
        return Verdict.MISSING
    try:
        signed_at = float(int(timestamp))
    except (ValueError, OverflowError):
        return Verdict.MALFORMED
    # Other versions stand beside v1 while a sender moves; they are passed over, as the specification asks.
    candidates = tuple(
        signature
        for version, _, encoded in (item.partition(b",") for item in written.split(b" "))
        if version == b"v1" and (signature := _base64(encoded)) is not None
    )
    if not candidates:
        return Verdict.MALFORMED
    message = identity + b"." + timestamp + b"." + body
    if not _matches(credentials.keys, message, candidates):
        return Verdict.MISMATCH
    return _window(signed_at, now, credentials.tolerance_s)


def _verify_header(credentials: Credentials, headers: Mapping[bytes, bytes]) -> Verdict:
    written = headers.get(credentials.header)
    if not written:
        return Verdict.MISSING
    candidate = written.removeprefix(b"Bearer ") if credentials.header == b"authorization" else written
    found = False
    for key in credentials.keys:
        found |= hmac.compare_digest(key, candidate)
    return Verdict.VALID if found else Verdict.MISMATCH


def signed_id(scheme: Scheme, headers: Mapping[bytes, bytes]) -> bytes:
    """Give the sender's delivery id where the signature covers it, else nothing."""
    return headers.get(WEBHOOK_ID, b"") if scheme is Scheme.STANDARD_WEBHOOKS else b""


def sign(credentials: Credentials, body: bytes, now: datetime, message_id: str = "") -> dict[str, str]:
    """Give the headers that this source's sender would send with a body at `now`, with its first secret.

    `message_id` is the sender's id of the delivery (Standard Webhooks); derived from the body where empty.
    """
    key = credentials.keys[0] if credentials.keys else b""
    match credentials.scheme:
        case Scheme.NONE:
            return {}
        case Scheme.HEADER:
            prefix = "Bearer " if credentials.header == b"authorization" else ""
            return {credentials.header.decode("latin-1"): prefix + key.decode()}
        case Scheme.DELIGHTED:
            return {DELIGHTED_SIGNATURE.decode(): "sha256=" + hmac.digest(key, body, "sha256").hex()}
        case Scheme.ZENDESK:
            timestamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            signature = hmac.digest(key, timestamp.encode() + body, "sha256")
            return {
                ZENDESK_SIGNATURE.decode(): base64.b64encode(signature).decode(),
                ZENDESK_TIMESTAMP.decode(): timestamp,
            }
        case Scheme.STANDARD_WEBHOOKS:
            identity = message_id or "msg_" + hashlib.blake2b(body, digest_size=16).hexdigest()
            seconds = str(int(now.timestamp()))
            signature = hmac.digest(key, f"{identity}.{seconds}.".encode() + body, "sha256")
            return {
                WEBHOOK_ID.decode(): identity,
                WEBHOOK_TIMESTAMP.decode(): seconds,
                WEBHOOK_SIGNATURE.decode(): "v1," + base64.b64encode(signature).decode(),
            }
