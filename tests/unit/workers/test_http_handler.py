"""``http.request`` against a service on a loopback port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import use_span

from durachart.workers.errors import EffectFailure, EffectRejected
from durachart.workers.handlers import Attempt
from durachart.workers.http_client import LIMIT_BYTES
from durachart.workers.http_handler import HttpHandler
from durachart.workers.http_targets import HttpTargets, read_hosts
from tests.unit.workers.http_peer import answer, serving
from tests.unit.workers.outbox import KEY, no_steps

LOOPBACK = HttpTargets(allow=read_hosts(["127.0.0.0/8", "::1"]))


@pytest.fixture
async def http() -> AsyncIterator[HttpHandler]:
    handler = HttpHandler(LOOPBACK)
    yield handler
    await handler.close()


async def run(handler: HttpHandler, url: str, **params: Any) -> Any:
    return await handler.run(Attempt(KEY, "e-1", "callApi", 1, {"url": url, **params}, no_steps()))


async def failing(handler: HttpHandler, url: str, **params: Any) -> EffectFailure:
    with pytest.raises(EffectFailure) as failed:
        await run(handler, url, **params)
    assert "secret" not in failed.value.message, "what comes after the host may hold secrets"
    return failed.value


async def test_what_is_asked_carries_the_effects_id_and_the_answer_is_the_output(http: HttpHandler) -> None:
    said = answer(201, b'{"id": 7}', "application/json", ETag='"1"', Set_Cookie="a=b")
    async with serving(said) as peer:
        output = await run(http, peer.url(), json={"sku": "tea"}, headers={"Authorization": "Bearer t"})
        [asked] = peer.asked
    assert output == {
        "status": 201,
        "headers": {"content-type": "application/json", "etag": '"1"'},
        "json": {"id": 7},
    }
    assert asked.line == "POST /orders?key=secret HTTP/1.1"
    assert json.loads(asked.body) == {"sku": "tea"}
    assert asked.headers["idempotency-key"] == "e-1"
    assert asked.headers["host"] == f"127.0.0.1:{peer.port}"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["authorization"] == "Bearer t"
    assert asked.headers["user-agent"].startswith("durachart/")
    assert "traceparent" not in asked.headers


async def test_what_the_definition_says_goes_before_our_own(http: HttpHandler) -> None:
    async with serving(answer(204)) as peer:
        given = {"content-type": "text/csv", "User-Agent": "shop"}
        await run(http, peer.url(), body="a,b", headers=given, idempotency_header="X-Request")
        await run(http, peer.url(), method="put", idempotency_header="")
        first, second = peer.asked
    assert (first.headers["content-type"], first.headers["user-agent"]) == ("text/csv", "shop")
    assert first.headers["x-request"] == "e-1"
    assert "idempotency-key" not in first.headers | second.headers
    assert second.headers["content-length"] == "0"


async def test_the_trace_goes_on_over_there(http: HttpHandler) -> None:
    span = TracerProvider().get_tracer("test").start_span("effect")
    async with serving(answer(204)) as peer:
        with use_span(span):
            await run(http, peer.url())
        [asked] = peer.asked
    assert asked.headers["traceparent"].split("-")[1] == f"{span.get_span_context().trace_id:032x}"


@pytest.mark.parametrize(
    ("said", "output"),
    [
        (answer(204), {}),
        (answer(200, b"hello", "text/plain"), {"text": "hello"}),
        (answer(200, "grün".encode("latin-1"), "text/plain; charset=ISO-8859-1"), {"text": "grün"}),
        (answer(200, "grün".encode(), "text/plain; charset=hex"), {"text": "grün"}),
        (answer(200, b"\xff\x00", "image/png"), {"base64": "/wA="}),
        (answer(200, b"[1, 2.5]", "application/problem+json"), {"json": [1, 2.5]}),
        (answer(200, b"{NaN", "application/json"), {"text": "{NaN"}),
        (answer(200, b"[NaN]", "application/json"), {"text": "[NaN]"}),
        (answer(200, b'"\\ud800"', "application/json"), {"text": '"\\ud800"'}),
        (answer(200, b"[" * 100_000, "application/json"), {"text": "[" * 100_000}),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", {"text": "until the end"}),
    ],
)
async def test_an_answer_is_json_text_or_bytes(
    http: HttpHandler, said: bytes, output: dict[str, Any]
) -> None:
    async with serving(said) as peer:
        found = await run(http, peer.url())
    assert {name: value for name, value in found.items() if name not in ("status", "headers")} == output


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (408, {}, None),
        (425, {}, None),
        (429, {"Retry_After": "7"}, 7),
        (409, {"Retry_After": "1"}, 1),
        (500, {}, None),
        (503, {"Retry_After": "90"}, 90),
        (599, {}, None),
    ],
)
async def test_what_may_go_better_is_tried_again_after_what_was_asked(
    http: HttpHandler, status: int, headers: dict[str, str], wait_s: float | None
) -> None:
    async with serving(answer(status, **headers)) as peer:
        failed = await failing(http, peer.url())
    assert (failed.reason, failed.retryable, failed.retry_after_s) == ("HTTP_UNAVAILABLE", True, wait_s)
    assert str(status) in failed.message


@pytest.mark.parametrize("status", [301, 400, 401, 404, 409, 422, 451])
async def test_a_refusal_is_the_services_last_word(http: HttpHandler, status: int) -> None:
    said = answer(status, b'{"detail": "no such order"}', "application/problem+json", Location="/elsewhere")
    async with serving(said) as peer:
        failed = await failing(http, peer.url())
        assert len(peer.asked) == 1, "redirects are not followed"
    assert isinstance(failed, EffectRejected)
    assert failed.reason == "HTTP_REJECTED"
    assert str(status) in failed.message
    assert "no such order" in failed.message


async def test_a_status_that_was_expected_is_a_success_and_no_other_is(http: HttpHandler) -> None:
    async with serving(answer(404), answer(200)) as peer:
        assert (await run(http, peer.url(), expect=[404]))["status"] == 404
        assert (await failing(http, peer.url(), expect=[404])).reason == "HTTP_REJECTED"


async def test_no_answer_in_time_is_a_timeout(http: HttpHandler) -> None:
    async with serving(None) as peer:
        failed = await failing(http, peer.url(), timeout_ms=20)
    assert (failed.reason, failed.retryable) == ("HTTP_TIMEOUT", True)


async def test_a_request_that_is_not_wanted_any_more_is_cut(http: HttpHandler) -> None:
    async with serving(None) as peer:
        asking = asyncio.create_task(run(http, peer.url()))
        await peer.heard.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(10):
            await peer.hung_up.wait()


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", b"nonsense\r\n\r\n", b""]
)
async def test_a_broken_answer_is_tried_again(http: HttpHandler, said: bytes) -> None:
    async with serving(said) as peer:
        failed = await failing(http, peer.url())
    assert (failed.reason, failed.retryable) == ("HTTP_UNAVAILABLE", True)


async def test_a_port_where_nobody_listens_and_a_name_nobody_has_are_tried_again(http: HttpHandler) -> None:
    async with serving(answer(200)) as peer:
        url = peer.url()
    failed = await failing(http, url)
    assert (failed.reason, failed.retryable) == ("HTTP_UNAVAILABLE", True)
    failed = await failing(http, "http://no-such-host.invalid/")
    assert (failed.reason, failed.retryable) == ("HTTP_UNAVAILABLE", True)


async def test_an_answer_over_the_bound_is_dropped(http: HttpHandler) -> None:
    async with serving(answer(200, b"x" * (LIMIT_BYTES + 1)), answer(200, b"x" * LIMIT_BYTES)) as peer:
        failed = await failing(http, peer.url())
        assert (failed.reason, failed.retryable) == ("HTTP_RESPONSE_TOO_LARGE", False)
        assert len((await run(http, peer.url()))["text"]) == LIMIT_BYTES


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_nobody_reaches_this_machine_through_the_server(host: str) -> None:
    guarded = HttpHandler(HttpTargets())
    async with serving(answer(200)) as peer:
        failed = await failing(guarded, peer.url(host))
        assert peer.asked == []
    await guarded.close()
    assert isinstance(failed, EffectRejected)
    assert failed.reason == "HTTP_TARGET_FORBIDDEN"
    assert "--http-allow" in failed.message


async def test_what_an_operator_denies_is_denied_although_it_is_allowed() -> None:
    guarded = HttpHandler(HttpTargets(LOOPBACK.allow, read_hosts(["localhost"])))
    async with serving(answer(200)) as peer:
        assert (await failing(guarded, peer.url("localhost"))).reason == "HTTP_TARGET_FORBIDDEN"
        assert (await run(guarded, peer.url()))["status"] == 200
    await guarded.close()


async def test_parameters_that_are_not_valid_are_rejected(http: HttpHandler) -> None:
    assert (await failing(http, "nowhere")).reason == "PARAMS_INVALID"


async def test_connections_are_kept_for_the_next_request(http: HttpHandler) -> None:
    async with serving(answer(200)) as peer:
        for _ in range(3):
            await run(http, peer.url())
        assert (len(peer.asked), peer.closed) == (3, 0)
        await http.close()


def test_a_handler_that_was_never_used_is_closed_at_once() -> None:
    asyncio.run(HttpHandler(LOOPBACK).close())
    assert HttpHandler(LOOPBACK).concurrency >= 1
