"""What a provider's failure is called, and what its message must never hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from durachart.workers.errors import ProviderError
from durachart.workers.providers.failures import (
    Endpoint,
    SdkErrors,
    classify,
    host_of,
    retry_after_s,
    stream_cut,
)

KEY = "sk-test-0000000000"  # not a key of anything


class Api(Exception):
    body: object = None


class StatusError(Api):
    def __init__(self, status: int, body: object = None, headers: dict[str, str] | None = None) -> None:
        self.status_code = status
        self.body = body
        self.response = SimpleNamespace(headers=headers or {})


class ConnectionFailed(Api): ...


class TimedOut(ConnectionFailed): ...


class Transport(Exception): ...


class TransportTimeout(Transport): ...


ERRORS = SdkErrors(Api, StatusError, TimedOut, ConnectionFailed, Transport, TransportTimeout)
ENDPOINT = Endpoint("the endpoint", "llm.example:443", "m-1", (KEY,))


def classified(error: Exception, *, streaming: bool = False) -> ProviderError:
    assert isinstance(error, ERRORS.all)
    return classify(error, ERRORS, ENDPOINT, streaming=streaming)


def api_error(body: object) -> Api:
    error = Api()
    error.body = body
    return error


@pytest.mark.parametrize(
    ("error", "streaming", "reason", "retryable"),
    [
        (StatusError(400), False, "PROVIDER_REJECTED", False),
        (StatusError(401), False, "PROVIDER_UNAUTHENTICATED", False),
        (StatusError(403), False, "PROVIDER_UNAUTHENTICATED", False),
        (StatusError(404), False, "PROVIDER_REJECTED", False),
        (StatusError(408), False, "PROVIDER_TIMEOUT", True),
        (StatusError(413), False, "PROVIDER_REJECTED", False),
        (StatusError(422), False, "PROVIDER_REJECTED", False),
        (StatusError(429), False, "PROVIDER_RATE_LIMITED", True),
        (StatusError(429, {"error": {"code": "insufficient_quota"}}), False, "PROVIDER_RATE_LIMITED", False),
        (StatusError(500), False, "PROVIDER_UNAVAILABLE", True),
        (StatusError(502, "<html>bad gateway</html>"), False, "PROVIDER_UNAVAILABLE", True),
        (StatusError(529), False, "PROVIDER_UNAVAILABLE", True),
        (StatusError(200, {"error": {"type": "overloaded_error"}}), True, "PROVIDER_UNAVAILABLE", True),
        (StatusError(200, {"error": {"type": "rate_limit_error"}}), True, "PROVIDER_RATE_LIMITED", True),
        (api_error({"type": "server_error", "code": None}), True, "PROVIDER_UNAVAILABLE", True),
        (api_error({"type": "invalid_request_error"}), True, "PROVIDER_REJECTED", False),
        (api_error("who knows"), True, "PROVIDER_UNAVAILABLE", True),
        (ConnectionFailed(), False, "PROVIDER_UNAVAILABLE", True),
        (Transport(), False, "PROVIDER_UNAVAILABLE", True),
        (ConnectionFailed(), True, "PROVIDER_STREAM_CUT", True),
        (Transport(), True, "PROVIDER_STREAM_CUT", True),
        (json.JSONDecodeError("half a line", "{", 1), True, "PROVIDER_STREAM_CUT", True),
        (TimedOut(), False, "PROVIDER_TIMEOUT", True),
        (TransportTimeout(), True, "PROVIDER_TIMEOUT", True),
    ],
)
def test_every_failure_has_its_reason(
    error: Exception, streaming: bool, reason: str, retryable: bool
) -> None:
    failure = classified(error, streaming=streaming)
    assert (failure.reason, failure.retryable) == (reason, retryable)
    assert failure.message[0].isupper()
    assert failure.message[-1] in ".?"
    assert "llm.example:443" in failure.message


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize(
    "said",
    [
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-proj-abc***********xyz. Find yours online.",
        "Header was Authorization: Bearer abcdefgh",
    ],
)
def test_no_message_holds_a_key(status: int, said: str) -> None:
    message = classified(StatusError(status, {"error": {"message": said}})).message
    for secret in (KEY, "sk-proj", "abcdefgh"):
        assert secret not in message


def test_the_provider_s_own_words_are_quoted_on_one_line_and_bounded() -> None:
    body = {"error": {"message": "The model `gpt-9`\ndoes not exist. " + "x" * 1000}}
    message = classified(StatusError(404, body)).message
    assert "The model `gpt-9` does not exist. xxx" in message
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Tue, 01 Jan 2030 00:01:00 GMT"}, 60.0),
        ({"retry-after": "Mon, 01 Jan 2029 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_the_wait_asked_for_is_read(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers, datetime(2030, 1, 1, tzinfo=UTC)) == expected


def test_the_wait_asked_for_is_passed_on() -> None:
    assert classified(StatusError(429, None, {"retry-after": "7"})).retry_after_s == 7


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example/v1/", "api.example"),
        ("http://user:password@127.0.0.1:8080/v1?key=secret", "127.0.0.1:8080"),
    ],
)
def test_an_address_holds_no_credentials(url: str, host: str) -> None:
    assert host_of(url) == host


def test_a_cut_says_that_the_partial_text_is_gone() -> None:
    message = stream_cut(ENDPOINT).message
    assert message.startswith("The endpoint at llm.example:443 stopped in the middle of its answer")
    assert "partial text was dropped" in message
