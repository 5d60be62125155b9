"""A request is believed only when its bytes were signed by a live secret of its source, within the window."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from cxloop_ingest.domain.signatures import (
    ZENDESK_TEST_SECRET,
    Credentials,
    Scheme,
    SecretError,
    Verdict,
    key_of,
    sign,
    verify,
)

NOW = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
BODY = b'{"a": 1}'
SIGNED = [Scheme.ZENDESK, Scheme.DELIGHTED, Scheme.STANDARD_WEBHOOKS, Scheme.HEADER]
TIMED = [Scheme.ZENDESK, Scheme.STANDARD_WEBHOOKS]


def secret(scheme: Scheme, name: str = "ours") -> str:
    raw = f"a secret named {name}"
    return "whsec_" + base64.b64encode(raw.encode()).decode() if scheme is Scheme.STANDARD_WEBHOOKS else raw


def credentials(scheme: Scheme, *names: str) -> Credentials:
    keys = tuple(key_of(scheme, secret(scheme, name)) for name in names or ("ours",))
    return Credentials(scheme, keys, b"x-token" if scheme is Scheme.HEADER else b"")


def judged(
    receiver: Credentials, headers: dict[str, str], body: bytes = BODY, now: datetime = NOW, **options: bool
) -> Verdict:
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    return verify(receiver, raw, body, now.timestamp(), **options)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW.timestamp() + seconds, UTC)


@pytest.mark.parametrize("scheme", SIGNED)
def test_what_the_sender_signs_is_valid(scheme: Scheme) -> None:
    one = credentials(scheme)
    assert judged(one, sign(one, BODY, NOW)) is Verdict.VALID


@pytest.mark.parametrize("scheme", SIGNED)
@pytest.mark.parametrize("signer", ["old", "new"])
def test_during_a_rotation_both_secrets_are_valid(scheme: Scheme, signer: str) -> None:
    headers = sign(credentials(scheme, signer), BODY, NOW)
    assert judged(credentials(scheme, "old", "new"), headers) is Verdict.VALID
    assert judged(credentials(scheme, "newest"), headers) is Verdict.MISMATCH


@pytest.mark.parametrize("scheme", SIGNED)
def test_another_tenants_signature_is_refused(scheme: Scheme) -> None:
    headers = sign(credentials(scheme, "theirs"), BODY, NOW)
    assert judged(credentials(scheme), headers) is Verdict.MISMATCH


@pytest.mark.parametrize("scheme", [Scheme.ZENDESK, Scheme.DELIGHTED, Scheme.STANDARD_WEBHOOKS])
@pytest.mark.parametrize("body", [b'{"a": 2}', b'{"a":1}', BODY[:-1], BODY + b" ", b""])
def test_a_signature_over_other_bytes_is_refused(scheme: Scheme, body: bytes) -> None:
    one = credentials(scheme)
    assert judged(one, sign(one, BODY, NOW), body) is Verdict.MISMATCH


@pytest.mark.parametrize("scheme", SIGNED)
def test_a_request_without_a_signature_is_refused(scheme: Scheme) -> None:
    one = credentials(scheme)
    assert judged(one, {}) is Verdict.MISSING
    for name in sign(one, BODY, NOW):
        headers = sign(one, BODY, NOW)
        del headers[name]
        assert judged(one, headers) is Verdict.MISSING


@pytest.mark.parametrize("scheme", SIGNED)
def test_a_truncated_signature_is_refused(scheme: Scheme) -> None:
    one = credentials(scheme)
    headers = sign(one, BODY, NOW)
    name = next(name for name in headers if name.endswith(("signature", "token")))
    for length in range(len(headers[name])):
        cut = {**headers, name: headers[name][:length]}
        assert judged(one, cut) in (Verdict.MISSING, Verdict.MALFORMED, Verdict.MISMATCH)


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize(
    ("signed_s", "verdict"),
    [
        (-301, Verdict.EXPIRED),
        (-86_400 * 365, Verdict.EXPIRED),
        (-300, Verdict.VALID),
        (0, Verdict.VALID),
        (300, Verdict.VALID),
        (301, Verdict.FUTURE),
        (86_400, Verdict.FUTURE),
    ],
)
def test_a_signature_counts_within_five_minutes_of_now(
    scheme: Scheme, signed_s: float, verdict: Verdict
) -> None:
    one = credentials(scheme)
    assert judged(one, sign(one, BODY, at(signed_s))) is verdict


@pytest.mark.parametrize("scheme", TIMED)
def test_the_timestamp_is_part_of_what_is_signed(scheme: Scheme) -> None:
    one = credentials(scheme)
    headers = sign(one, BODY, at(-3600))
    name = next(name for name in headers if name.endswith("timestamp"))
    assert judged(one, {**headers, name: sign(one, BODY, NOW)[name]}) is Verdict.MISMATCH
    assert judged(one, {**headers, name: "soon"}) is Verdict.MALFORMED


def test_standard_webhooks_agrees_with_the_specifications_vector() -> None:
    key = key_of(Scheme.STANDARD_WEBHOOKS, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    one = Credentials(Scheme.STANDARD_WEBHOOKS, (key,))
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    signed_at = datetime.fromtimestamp(1614265330, UTC)
    assert judged(one, headers, b'{"test": 2432232314}', signed_at) is Verdict.VALID
    assert sign(one, b'{"test": 2432232314}', signed_at, headers["webhook-id"]) == headers


def test_standard_webhooks_agrees_with_its_own_library() -> None:
    one = credentials(Scheme.STANDARD_WEBHOOKS)
    theirs = Webhook(secret(Scheme.STANDARD_WEBHOOKS))
    now = datetime.now(UTC)
    assert theirs.verify(BODY, sign(one, BODY, now)) == {"a": 1}
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": theirs.sign("msg_1", now, BODY.decode()),
    }
    assert judged(one, headers, now=now) is Verdict.VALID


def test_standard_webhooks_takes_any_v1_signature_of_the_list() -> None:
    one = credentials(Scheme.STANDARD_WEBHOOKS)
    headers = sign(one, BODY, NOW)
    wrong = "v1," + base64.b64encode(b"0" * 32).decode()
    right = headers["webhook-signature"]
    for value, verdict in {
        f"v1a,abc {wrong} {right}": Verdict.VALID,
        f"{wrong} v2,{right[3:]}": Verdict.MISMATCH,
        "v2,abc": Verdict.MALFORMED,
        right[3:]: Verdict.MALFORMED,
    }.items():
        assert judged(one, {**headers, "webhook-signature": value}) is verdict


def test_zendesk_signs_timestamp_and_body_in_base64() -> None:
    one = credentials(Scheme.ZENDESK)
    timestamp = "2026-03-06T11:59:00Z"
    digest = hmac.new(b"a secret named ours", timestamp.encode() + BODY, hashlib.sha256).digest()
    headers = {
        "x-zendesk-webhook-signature": base64.b64encode(digest).decode(),
        "x-zendesk-webhook-signature-timestamp": timestamp,
    }
    assert judged(one, headers) is Verdict.VALID


def test_delighted_signs_the_body_in_hex() -> None:
    digest = hmac.new(b"a secret named ours", BODY, hashlib.sha256).hexdigest()
    one = credentials(Scheme.DELIGHTED)
    assert judged(one, {"x-delighted-webhook-signature": f"sha256={digest}"}) is Verdict.VALID
    assert judged(one, {"x-delighted-webhook-signature": f"sha1={digest}"}) is Verdict.MALFORMED
    assert judged(one, {"x-delighted-webhook-signature": digest}) is Verdict.MALFORMED


def test_zendesks_published_secret_opens_nothing_unless_the_source_allows_tests() -> None:
    test = Credentials(Scheme.ZENDESK, (ZENDESK_TEST_SECRET.encode(),))
    headers = sign(test, BODY, NOW)
    one = credentials(Scheme.ZENDESK)
    assert judged(one, headers) is Verdict.MISMATCH
    assert judged(one, headers, allow_test=True) is Verdict.TEST
    assert judged(one, sign(test, BODY, at(-600)), allow_test=True) is Verdict.EXPIRED
    assert judged(one, sign(one, BODY, NOW), allow_test=True) is Verdict.VALID
    with pytest.raises(SecretError):
        key_of(Scheme.ZENDESK, ZENDESK_TEST_SECRET)


def test_no_secret_shows_in_a_representation() -> None:
    assert "ours" not in repr(credentials(Scheme.HEADER))


def test_without_verification_everybody_may_send() -> None:
    assert judged(Credentials(Scheme.NONE), {}) is Verdict.VALID
    assert sign(Credentials(Scheme.NONE), BODY, NOW) == {}
