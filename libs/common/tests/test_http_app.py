"""The application every service starts from, asked over ASGI."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, cast

import httpx
import pytest
from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import BaseModel, Field, field_validator
from starlette.requests import Request
from structlog.testing import capture_logs

from cxloop_common.http import (
    IdempotencyKey,
    IfMatch,
    Page,
    Paging,
    Problem,
    Readiness,
    ServiceApp,
    check_if_match,
    create_app,
    encode_cursor,
    readiness,
    require,
)
from cxloop_common.security import Principal, Scope, TokenStore
from cxloop_common.telemetry import Telemetry, current_traceparent, request_id

READ, WRITE, OPERATE = (f"a-token-that-may-{scope}" for scope in ("read", "write", "operate"))
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Filter(BaseModel):
    team: str = ""
    where: list[str] = []


class Score(BaseModel):
    raw: int = Field(ge=0, le=10)
    tags: list[str] = []

    @field_validator("tags")
    @classmethod
    def _short(cls, tags: list[str]) -> list[str]:
        if any(len(tag) > 5 for tag in tags):
            raise ValueError("a tag has at most 5 characters")
        return tags


def tokens() -> TokenStore:
    return TokenStore(
        [
            (READ, Principal("reader", frozenset({Scope.READ}))),
            (WRITE, Principal("shop", frozenset({Scope.WRITE}), frozenset({"shop"}))),
            (OPERATE, Principal("ops", frozenset({Scope.OPERATE, Scope.READ}))),
        ]
    )


def make_app(  # noqa: C901 - one small endpoint for each promise
    store: TokenStore | None = None, *, metrics_open: bool = False, body_deadline_s: float = 30
) -> ServiceApp:
    app = create_app(
        service="scoring",
        title="Scoring",
        version="1.2.3",
        tokens=tokens() if store is None else store,
        telemetry=Telemetry("scoring"),
        metrics_open=metrics_open,
        max_request_bytes=2048,
        body_deadline_s=body_deadline_s,
    )
    router = APIRouter(prefix="/v1", dependencies=[Depends(require(Scope.READ))])

    @router.get("/cases")
    async def cases(page: Paging, status: str = "") -> Page[str]:  # pyright: ignore[reportUnusedFunction]
        after = page.after(f"cases?{status}", int, str)
        return Page(items=[repr(after)], next_cursor=encode_cursor([page.limit, "case"], f"cases?{status}"))

    @router.get("/cases/{case_id}")
    async def case(case_id: int) -> int:  # pyright: ignore[reportUnusedFunction]
        return case_id

    @router.get("/values")
    async def values(chosen: Annotated[Filter, Query()]) -> Filter:  # pyright: ignore[reportUnusedFunction]
        return chosen

    @router.post("/scores")
    async def scores(score: Score) -> int:  # pyright: ignore[reportUnusedFunction]
        return score.raw

    @router.post("/cases/{case_id}/resolve")
    async def resolve(  # pyright: ignore[reportUnusedFunction]
        case_id: int,
        caller: Annotated[Principal, Depends(require(Scope.OPERATE))],
        if_match: IfMatch = None,
        key: IdempotencyKey = None,
    ) -> dict[str, object]:
        check_if_match(if_match, case_id, required=True)
        return {"by": caller.name, "key": key}

    @router.get("/crash")
    async def crash() -> None:  # pyright: ignore[reportUnusedFunction]
        raise RuntimeError("Ana's comment")

    @router.get("/gone")
    async def gone() -> None:  # pyright: ignore[reportUnusedFunction]
        raise Problem(410, "Erased", "This customer was erased.", type="https://example.com/erased")

    @router.get("/context")
    async def context(x_request_id: Annotated[str | None, Header()] = None) -> dict[str, str | None]:  # pyright: ignore[reportUnusedFunction]
        del x_request_id
        return {"request_id": request_id.get(), "traceparent": current_traceparent()}

    app.include_router(router)

    async def intake(request: Request) -> Response:
        if request.path_params["source"] == "nobody":
            raise Problem(404, detail="No such source.")
        if request.path_params["source"] == "broken":
            raise RuntimeError("Ana's comment")
        body = await request.body()
        return Response(f"{request.path_params['source']} {len(body)} {current_traceparent()}", 202)

    app.add_hot_route("/webhooks/{source}", intake, operation={"summary": "Take a delivery"})
    return app


def client_of(app: ServiceApp, token: str | None = READ) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(make_app()) as client:
        yield client


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    return body


async def test_health_needs_no_token_and_metrics_do() -> None:
    async with client_of(make_app(), token=None) as client:
        assert (await client.get("/healthz")).json() == {
            "status": "up",
            "service": "scoring",
            "version": "1.2.3",
        }
        assert (await client.get("/readyz")).status_code == 200
        problem(await client.get("/metrics"), 401)
        assert (await client.get("/openapi.json")).status_code == 200
        assert (await client.get("/docs")).status_code == 200
    async with client_of(make_app(metrics_open=True), token=None) as client:
        assert (await client.get("/metrics")).status_code == 200


async def test_requests_are_timed_by_route_template_not_by_path(client: httpx.AsyncClient) -> None:
    await client.get("/v1/cases/4711")
    await client.get("/v1/nothing-here")
    await client.post("/webhooks/shop")
    text = (await client.get("/metrics")).text
    for route in ('method="GET",route="/v1/cases/{case_id}",status="200"', 'route="(no route)",status="404"'):
        assert f"cxloop_http_request_seconds_count{{{route}" in text or route in text
    assert 'method="POST",route="/webhooks/{source}",status="202"' in text
    assert "4711" not in text
    assert "nothing-here" not in text


async def test_readiness_names_every_failing_part() -> None:
    app = make_app()
    state: dict[str, str | None] = {"kafka": "no broker answers"}

    async def kafka() -> str | None:
        return state["kafka"]

    async def postgres() -> str | None:
        raise RuntimeError("password of ana")

    readiness(app).register("kafka", kafka)
    async with client_of(app, token=None) as client:
        body = problem(await client.get("/readyz"), 503)
        assert body["errors"] == [{"part": "kafka", "detail": "no broker answers"}]
        state["kafka"] = None
        assert (await client.get("/readyz")).json() == {"status": "ready", "checks": {"kafka": "ok"}}
        readiness(app).register("postgres", postgres)
        answer = await client.get("/readyz")
        assert problem(answer, 503)["errors"] == [
            {"part": "postgres", "detail": "the check itself failed with RuntimeError"}
        ]
        assert "ana" not in answer.text
    with pytest.raises(ValueError, match="registered already"):
        readiness(app).register("kafka", kafka)


async def test_a_check_that_hangs_is_a_failing_part() -> None:
    checks = Readiness(patience_s=0.01)

    async def hangs() -> str | None:
        await asyncio.Event().wait()

    checks.register("kafka", hangs)
    assert await checks.failures() == {"kafka": "no answer within 0.01 s"}


@pytest.mark.parametrize(
    ("header", "error"),
    [(None, None), ("Basic x", "invalid_token"), ("Bearer not-a-token-of-ours", "invalid_token")],
)
async def test_a_call_without_a_known_token_gets_401_and_a_challenge(
    client: httpx.AsyncClient, header: str | None, error: str | None
) -> None:
    del client.headers["Authorization"]
    answer = await client.get("/v1/cases", headers={"Authorization": header} if header else {})
    assert problem(answer, 401)["detail"]
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="cxloop"')
    assert (f'error="{error}"' in challenge) == (error is not None)


async def test_without_configured_tokens_the_401_says_how_to_configure_them() -> None:
    async with client_of(make_app(TokenStore())) as client:
        assert "CXLOOP_API_TOKENS_FILE" in str(problem(await client.get("/v1/cases"), 401)["detail"])


async def test_a_token_without_the_scope_gets_403(client: httpx.AsyncClient) -> None:
    assert "operate" in str(problem(await client.post("/v1/cases/1/resolve"), 403)["detail"])
    client.headers["Authorization"] = f"Bearer {WRITE}"
    problem(await client.get("/v1/cases"), 403)


async def test_an_unknown_query_parameter_gets_400_and_the_nearest_known(client: httpx.AsyncClient) -> None:
    body = problem(await client.get("/v1/cases?statsu=open&limit=5&zzz=1"), 400)
    assert body["detail"] == "This call takes: cursor, limit, status."
    assert body["errors"] == [
        {"parameter": "statsu", "detail": "unknown; did you mean status?"},
        {"parameter": "zzz", "detail": "unknown"},
    ]
    assert problem(await client.get("/healthz?x"), 400)["detail"] == "This call takes no query parameters."


async def test_parameters_of_a_query_model_are_known(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/values?team=billing&where=a:1&where=b:2")
    assert answer.json() == {"team": "billing", "where": ["a:1", "b:2"]}
    problem(await client.get("/v1/values?tema=x"), 400)


async def test_a_second_value_of_a_parameter_that_takes_one_gets_400(client: httpx.AsyncClient) -> None:
    for path in ("/v1/cases?status=open&status=closed", "/v1/values?team=a&team=b"):
        (error,) = cast("list[dict[str, str]]", problem(await client.get(path), 400)["errors"])
        assert error["detail"] == "it takes one value; give it once"


@pytest.mark.parametrize("path", ["/v1/cases?status=a%00b", "/v1/values?where=a:%00", "/v1/cases/%00"])
async def test_a_nul_in_path_or_query_gets_400_and_reaches_no_database(
    client: httpx.AsyncClient, path: str
) -> None:
    assert "U+0000" in str(problem(await client.get(path), 400)["detail"])


async def test_a_bad_parameter_gets_400_naming_it(client: httpx.AsyncClient) -> None:
    errors = problem(await client.get("/v1/cases?limit=501"), 400)["errors"]
    assert errors == [{"parameter": "limit", "detail": "Input should be less than or equal to 500"}]
    answer = await client.get("/v1/cases/ana@example.com")
    assert "case_id" in str(problem(answer, 400)["errors"])
    assert "ana" not in answer.text


async def test_a_bad_body_gets_422_with_pointers_and_is_never_echoed(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/scores", json={"raw": "ana@example.com", "tags": ["ok", 7]})
    errors = problem(answer, 422)["errors"]
    assert [error["pointer"] for error in errors] == ["/raw", "/tags/1"]
    assert "ana" not in answer.text
    answer = await client.post("/v1/scores", json={"raw": 11, "tags": ["secret"]})
    assert "a tag has at most 5 characters" in answer.text
    assert "Value error" not in answer.text
    assert "secret" not in answer.text


@pytest.mark.parametrize(("body", "status"), [(b'{"raw": ', 400), (b"", 422), (b'"\xff"', 400)])
async def test_a_broken_body_is_a_problem(client: httpx.AsyncClient, body: bytes, status: int) -> None:
    answer = await client.post("/v1/scores", content=body, headers={"Content-Type": "application/json"})
    problem(answer, status)


async def test_a_body_beyond_the_limit_gets_413_whether_announced_or_not(client: httpx.AsyncClient) -> None:
    problem(await client.post("/v1/scores", content=b" " * 2049), 413)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 500

    problem(await client.post("/v1/scores", content=chunks()), 413)
    largest = b'{"raw": 1}' + b" " * 2038
    json_type = {"Content-Type": "application/json"}
    assert (await client.post("/v1/scores", content=largest, headers=json_type)).status_code == 200


async def test_an_announced_size_is_refused_before_a_byte_is_read(client: httpx.AsyncClient) -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"x")
        yield b"x" * 4096

    problem(await client.post("/v1/scores", content=body(), headers={"Content-Length": "4096"}), 413)
    assert not read


async def test_a_body_that_never_ends_gets_408() -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with client_of(make_app(body_deadline_s=0.02)) as client:
        problem(await client.post("/v1/scores", content=stalls()), 408)


async def test_what_is_not_there_is_a_problem_too(client: httpx.AsyncClient) -> None:
    assert problem(await client.get("/v1/nothing"), 404)["detail"] == "There is nothing at this path."
    problem(await client.get("/v1/cases/"), 404)
    answer = await client.delete("/v1/scores")
    assert problem(answer, 405)
    assert answer.headers["allow"] == "POST"


async def test_a_raised_problem_is_answered_as_it_is(client: httpx.AsyncClient) -> None:
    assert problem(await client.get("/v1/gone"), 410) == {
        "type": "https://example.com/erased",
        "title": "Erased",
        "status": 410,
        "detail": "This customer was erased.",
    }


@pytest.mark.parametrize("path", ["/v1/crash", "/webhooks/broken"])
async def test_a_crash_is_logged_under_its_request_and_tells_nothing(
    client: httpx.AsyncClient, path: str
) -> None:
    with capture_logs() as logs:
        answer = await client.request("POST" if "hooks" in path else "GET", path)
    problem(answer, 500)
    assert "Ana" not in answer.text
    assert "RuntimeError" not in answer.text
    crash = next(log for log in logs if log["event"] == "request_crashed")
    assert crash["error"] == "RuntimeError"
    assert "Ana" not in str(logs)


async def test_a_sane_request_id_is_kept_and_any_other_replaced(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/context", headers={"X-Request-Id": "order-4711"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "order-4711"
    for bad in ("short", "x" * 200, "with space in it", "<script>alert</script>"):
        answer = await client.get("/v1/context", headers={"X-Request-Id": bad})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert request_id.get() is None


async def test_the_callers_trace_goes_on(client: httpx.AsyncClient) -> None:
    inherited = (await client.get("/v1/context", headers={"traceparent": TRACE})).json()["traceparent"]
    assert inherited[:35] == TRACE[:35]
    assert inherited != TRACE
    fresh = (await client.get("/v1/context", headers={"traceparent": "nonsense"})).json()["traceparent"]
    assert fresh[:35] != TRACE[:35]


async def test_the_access_log_names_the_route_and_neither_path_nor_query(client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        await client.get("/v1/cases?status=ana")
        await client.get("/v1/cases/4711")
        await client.get("/healthz")
    assert [(log["route"], log["status"]) for log in logs if log["event"] == "request"] == [
        ("/v1/cases", 200),
        ("/v1/cases/{case_id}", 200),
    ]
    assert "ana" not in str(logs)
    assert "4711" not in str(logs)


async def test_a_hot_route_is_answered_with_id_trace_and_problems_only(client: httpx.AsyncClient) -> None:
    del client.headers["Authorization"]
    answer = await client.post(
        "/webhooks/shop?any=thing", content=b"x" * 5000, headers={"traceparent": TRACE}
    )
    assert answer.status_code == 202
    assert answer.text.startswith(f"shop 5000 {TRACE[:35]}")
    assert answer.headers["x-request-id"]
    assert problem(await client.post("/webhooks/nobody"), 404)["detail"] == "No such source."
    refused = await client.get("/webhooks/shop")
    problem(refused, 405)
    assert refused.headers["allow"] == "POST"


async def test_a_page_is_continued_by_its_cursor_and_by_no_other(client: httpx.AsyncClient) -> None:
    first = (await client.get("/v1/cases?limit=7")).json()
    assert first["items"] == ["None"]
    cursor = first["next_cursor"]
    assert (await client.get("/v1/cases", params={"cursor": cursor})).json()["items"] == ["(7, 'case')"]
    tampered = ("A" if cursor[0] != "A" else "B") + cursor[1:]
    for bad in (tampered, cursor[:-2], "!", "ü", "", "A" * 2000):
        problem(await client.get("/v1/cases", params={"cursor": bad}), 400)
    problem(await client.get("/v1/cases", params={"cursor": cursor, "status": "open"}), 400)


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        (None, 428),
        ('"8"', 412),
        ('W/"7"', 412),
        ("7", 400),
        ('"7"', 200),
        ("*", 200),
        ('"6", "7"', 200),
    ],
)
async def test_a_change_is_made_only_to_what_was_read(
    client: httpx.AsyncClient, if_match: str | None, status: int
) -> None:
    client.headers["Authorization"] = f"Bearer {OPERATE}"
    answer = await client.post("/v1/cases/7/resolve", headers={"If-Match": if_match} if if_match else {})
    assert answer.status_code == status, answer.text
    if status == 412:
        assert answer.headers["etag"] == '"7"'


@pytest.mark.parametrize(
    ("key", "read"),
    [("abc-1", "abc-1"), ('"abc 1"', "abc 1"), ("a b", None), ('""', None), ("x" * 129, None)],
)
async def test_an_idempotency_key_is_read_quoted_or_bare(
    client: httpx.AsyncClient, key: str, read: str | None
) -> None:
    client.headers["Authorization"] = f"Bearer {OPERATE}"
    answer = await client.post("/v1/cases/7/resolve", headers={"If-Match": "*", "Idempotency-Key": key})
    if read is None:
        problem(answer, 400)
    else:
        assert answer.json() == {"by": "ops", "key": read}


async def test_the_openapi_document_tells_of_problems_tokens_and_hot_routes(
    client: httpx.AsyncClient,
) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["info"]["version"] == "1.2.3"
    assert document["paths"]["/webhooks/{source}"]["post"]["summary"] == "Take a delivery"
    operation = document["paths"]["/v1/scores"]["post"]
    assert "422" not in operation["responses"]
    assert "application/problem+json" in operation["responses"]["default"]["content"]
    assert operation["security"] == [{"HTTPBearer": []}]
    assert "security" not in document["paths"]["/healthz"]["get"]
    assert "HTTPValidationError" not in str(document)
