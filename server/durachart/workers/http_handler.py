"""``http.request``: one request to a service that speaks HTTP.

Its parameters are those of `http_params`. Every attempt carries the effect's id as ``Idempotency-Key``, by
which a service that knows the header does the same thing once; one that does not may do it again.

| what came of it | the effect |
|---|---|
| a status that was expected, 200 to 299 by default | completes |
| 408, 425, 429, 5xx, and 409 with ``Retry-After`` | HTTP_UNAVAILABLE, tried again, after ``Retry-After`` |
| no connection, or it broke | HTTP_UNAVAILABLE, tried again |
| nothing within ``timeout_ms`` | HTTP_TIMEOUT, tried again |
| any other status | HTTP_REJECTED |
| an address that may not be connected to | HTTP_TARGET_FORBIDDEN, rejected |
| an answer over 1 MiB | HTTP_RESPONSE_TOO_LARGE, failed for good |

The output is ``{"status", "headers", "json" or "text" or "base64"}``: ``json`` when the answer says that it
is, ``base64`` when it is no text, and neither when it is empty. Of the headers those that say something about
the answer are kept.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from datetime import UTC, datetime
from email.message import Message
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import durachart
from durachart.workers.errors import EffectFailure, EffectRejected
from durachart.workers.handlers import Attempt
from durachart.workers.http_params import HttpRequest, read_http_request
from durachart.workers.http_targets import HttpTargets
from durachart.workers.providers.failures import retry_after_s

if TYPE_CHECKING:
    from durachart.workers.http_client import HttpAnswer, HttpClient

REJECTED: Final = "HTTP_REJECTED"
UNAVAILABLE: Final = "HTTP_UNAVAILABLE"
TIMEOUT: Final = "HTTP_TIMEOUT"
TARGET_FORBIDDEN: Final = "HTTP_TARGET_FORBIDDEN"
RESPONSE_TOO_LARGE: Final = "HTTP_RESPONSE_TOO_LARGE"

_RETRYABLE: Final = frozenset({408, 425, 429})
_CONFLICT, _SERVER_ERROR = 409, 500
_KEPT: Final = (
    *("content-type", "content-language", "date", "etag", "last-modified", "link", "location"),
    *("request-id", "x-request-id"),
)
_QUOTED_CHARS = 300
# Python has codecs by the hundred, some of them slow; these are what services use.
_CHARSET: Final = re.compile(r"utf-8|utf-16|us-ascii|iso-8859-([1-9]|1[013456])|windows-125[0-8]")
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class HttpHandler:
    """Runs ``http.request``."""

    name = "http.request"
    timeout_reason = TIMEOUT

    def __init__(self, targets: HttpTargets, concurrency: int = 32) -> None:
        """Make the handler; nothing is connected yet.

        Args:
            targets: Where it may connect to.
            concurrency: Most requests at a time.
        """
        self.concurrency = concurrency
        self._targets = targets
        self._client: HttpClient | None = None

    async def run(self, attempt: Attempt) -> object:
        """Send the request; see `EffectHandler.run`."""
        request = read_http_request(attempt.params)
        answer = await self._send(request, _headers(request, attempt.effect_id))
        if request.expects(answer.status):
            return _output(answer)
        raise _failure(request, answer)

    async def close(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _send(self, request: HttpRequest, headers: dict[str, str]) -> HttpAnswer:
        # Imported here: it takes long, and most servers never send a request.
        from durachart.workers import http_client

        if self._client is None:
            self._client = http_client.HttpClient(self._targets)
        try:
            async with asyncio.timeout(request.timeout_ms / 1000):
                return await self._client.send(request, headers)
        except TimeoutError:
            raise EffectFailure(
                TIMEOUT,
                f"{request.host} did not answer within {request.timeout_ms:,} ms.",
                retryable=True,
            ) from None
        except http_client.NotAnswered as error:
            message = f"{request.host} did not answer: {error}."
            raise EffectFailure(UNAVAILABLE, message, retryable=True) from error
        except http_client.AnswerTooLarge:
            raise EffectFailure(
                RESPONSE_TOO_LARGE,
                f"{request.host} answered with more than {http_client.LIMIT_BYTES:,} bytes; "
                "ask for less, or use a worker of your own.",
                retryable=False,
            ) from None
        except http_client.TargetForbidden:
            raise EffectRejected(
                TARGET_FORBIDDEN,
                f"{request.host} is not an address this server may send requests to; "
                "an operator can allow it with --http-allow.",
            ) from None


def _headers(request: HttpRequest, effect_id: str) -> dict[str, str]:
    """All headers of a request; what the definition says goes before our own."""
    ours: dict[str, str] = {
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "User-Agent": f"durachart/{durachart.__version__}",
    }
    if request.content_type:
        ours["Content-Type"] = request.content_type
    if request.idempotency_header:
        ours[request.idempotency_header] = effect_id
    _PROPAGATOR.inject(ours)
    given = {name.lower() for name in request.headers}
    return {name: text for name, text in ours.items() if name.lower() not in given} | dict(request.headers)


def _failure(request: HttpRequest, answer: HttpAnswer) -> EffectFailure:
    status = answer.status
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "unknown status"
    message = f"{request.method} {request.host} answered {status} {phrase}{_quote(answer)}."
    asked = "retry-after" in answer.headers
    if status in _RETRYABLE or status >= _SERVER_ERROR or (status == _CONFLICT and asked):
        wait_s = retry_after_s(answer.headers, datetime.now(UTC))
        return EffectFailure(UNAVAILABLE, message, retryable=True, retry_after_s=wait_s)
    return EffectRejected(REJECTED, message)


def _quote(answer: HttpAnswer) -> str:
    """What the other side said about it, when it is text: that is what tells a person what to do."""
    media, charset = _media(answer)
    if not (_is_json(media) or media == "text/plain"):
        return ""
    said = " ".join(answer.body[: 4 * _QUOTED_CHARS].decode(charset, "replace").split())
    return f": {said[:_QUOTED_CHARS]}" if said else ""


def _output(answer: HttpAnswer) -> dict[str, Any]:
    headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
    output: dict[str, Any] = {"status": answer.status, "headers": headers}
    media, charset = _media(answer)
    if not answer.body:
        return output
    if _is_json(media):
        try:
            output["json"] = _parsed(answer.body)
        except ValueError:
            # Not what it says: it is handed on as it came.
            pass
        else:
            return output
    try:
        output["text"] = answer.body.decode(charset)
    except UnicodeDecodeError:
        output["base64"] = base64.b64encode(answer.body).decode("ascii")
    return output


def _parsed(body: bytes) -> Any:
    """JSON that can be stored.

    Raises:
        ValueError: It is none, or holds a number or half a character that JSON has no place for.
    """

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        value = json.loads(body, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return value


def _is_json(media: str) -> bool:
    return media == "application/json" or re.fullmatch(r"application/[\w.-]+\+json", media) is not None


def _media(answer: HttpAnswer) -> tuple[str, str]:
    """Media type and charset of an answer; UTF-8 when it names none that is known."""
    said = Message()
    said["content-type"] = answer.headers.get("content-type", "")
    charset = said.get_content_charset("utf-8")
    if not _CHARSET.fullmatch(charset):
        charset = "utf-8"
    return said.get_content_type() if "content-type" in answer.headers else "", charset
