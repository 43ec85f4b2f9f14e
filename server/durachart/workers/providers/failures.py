"""Turns what an SDK raises into a `ProviderError`.

| the provider | reason | retryable |
|---|---|---|
| 429 | PROVIDER_RATE_LIMITED | yes, after what it asks for; no when the quota is spent |
| 5xx, no connection, an error in the middle of its stream | PROVIDER_UNAVAILABLE | yes |
| ended its stream without a finish reason | PROVIDER_STREAM_CUT | yes |
| 401, 403 | PROVIDER_UNAUTHENTICATED | no |
| any other 4xx | PROVIDER_REJECTED | no |
| 408, silent for too long | PROVIDER_TIMEOUT | yes |
| not set up here | PROVIDER_NOT_CONFIGURED | no |

Both SDKs are made by one generator and raise classes of the same names; `SdkErrors` holds one SDK's, so that
this module needs neither.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from durachart.workers.errors import ProviderError

RATE_LIMITED = "PROVIDER_RATE_LIMITED"
UNAVAILABLE = "PROVIDER_UNAVAILABLE"
STREAM_CUT = "PROVIDER_STREAM_CUT"
UNAUTHENTICATED = "PROVIDER_UNAUTHENTICATED"
REJECTED = "PROVIDER_REJECTED"
TIMEOUT = "PROVIDER_TIMEOUT"
NOT_CONFIGURED = "PROVIDER_NOT_CONFIGURED"

# How much of a provider's own words goes into a message.
_QUOTED_CHARS = 300
# A key in a provider's words: what follows the prefixes that key formats use, and what it masked itself.
_KEY_LIKE = re.compile(r"\b(?:sk|pk)[-_][A-Za-z0-9*._-]{6,}|\bBearer\s+\S+")
# `type` or `code` of an error inside a stream that began with status 200, where there is no status any more.
_STATUS_OF_TYPE = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "invalid_request_error": 400,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "timeout_error": 408,
    "api_error": 500,
    "server_error": 500,
    "overloaded_error": 503,
}
_FIRST_CLIENT_ERROR, _FIRST_SERVER_ERROR = 400, 500


@dataclass(frozen=True, slots=True)
class SdkErrors:
    """One SDK's exceptions.

    Attributes:
        api: Base of everything the SDK raises for a request.
        status: The answer's status was no success; has ``status_code``, ``response`` and ``body``.
        timeout: Timed out, as the SDK wraps it.
        connection: No connection or a broken one, as the SDK wraps it.
        transport: What the HTTP client under the SDK raises, unwrapped, in the middle of a stream.
        transport_timeout: The part of ``transport`` that is a timeout.
    """

    api: type[Exception]
    status: type[Exception]
    timeout: type[Exception]
    connection: type[Exception]
    transport: type[Exception]
    transport_timeout: type[Exception]

    @property
    def all(self) -> tuple[type[Exception], ...]:
        """Everything `classify` understands; a broken line of a stream is a ``JSONDecodeError``."""
        return (self.api, self.transport, json.JSONDecodeError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom a message is about.

    Attributes:
        name: For people, as it stands inside a sentence, for example ``Anthropic``.
        address: ``host:port``.
        model: The model asked for.
        secrets: Keys to strike out should the provider repeat them.
    """

    name: str
    address: str
    model: str
    secrets: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} at {self.address}"

    @property
    def first(self) -> str:
        """The same, as it begins a sentence."""
        return self.name[:1].upper() + str(self)[1:]


def host_of(url: str) -> str:
    """``host:port`` of a URL, without user, password, path or query."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2]


def stream_cut(endpoint: Endpoint) -> ProviderError:
    """The stream ended, or broke, before its finish reason."""
    return ProviderError(
        STREAM_CUT,
        f"{endpoint.first} stopped in the middle of its answer; the partial text was dropped.",
        retryable=True,
    )


def timed_out(endpoint: Endpoint, within: str) -> ProviderError:
    """The provider was silent for too long."""
    return ProviderError(TIMEOUT, f"{endpoint.first} did not answer {within}.", retryable=True)


def classify(error: Exception, errors: SdkErrors, endpoint: Endpoint, *, streaming: bool) -> ProviderError:
    """Say what an SDK's exception means.

    Args:
        error: One of ``errors.all``.
        errors: The SDK's classes.
        endpoint: Whom it is about.
        streaming: Whether the answer had begun.

    Returns:
        The failure; raise it ``from None``, because an SDK's exception holds the request with its headers.
    """
    if isinstance(error, errors.status):
        status = int(getattr(error, "status_code", 0))
        headers = getattr(getattr(error, "response", None), "headers", {})
        return _of_status(status, getattr(error, "body", None), headers, endpoint)
    if isinstance(error, (errors.timeout, errors.transport_timeout)):
        return timed_out(endpoint, "in time")
    if streaming and isinstance(error, (errors.connection, errors.transport, ValueError)):
        return stream_cut(endpoint)
    if isinstance(error, (errors.connection, errors.transport)):
        return ProviderError(
            UNAVAILABLE,
            f"No answer from {endpoint}: the connection was refused or cut; is it running and reachable?",
            retryable=True,
        )
    # The rest is an error object inside a stream, or an answer that is not what the API promises.
    return _of_status(0, getattr(error, "body", None), {}, endpoint)


def _of_status(answered: int, body: object, headers: Mapping[str, str], endpoint: Endpoint) -> ProviderError:
    kind, said = _read_body(body)
    status, shown = answered, f" ({answered})"
    if answered < _FIRST_CLIENT_ERROR:
        status, shown = _STATUS_OF_TYPE.get(kind, _FIRST_SERVER_ERROR), ""
    if status == 429:
        return _rate_limited(kind, headers, endpoint, shown)
    if status in (401, 403):
        # The provider's words are left out: they tend to repeat a part of the key.
        return ProviderError(
            UNAUTHENTICATED,
            f"{endpoint.first} refused the API key{shown}; set the right key in the server's settings.",
            retryable=False,
        )
    if status == 408:
        return timed_out(endpoint, f"in time{shown}")
    if status >= _FIRST_SERVER_ERROR:
        return ProviderError(
            UNAVAILABLE,
            f"{endpoint.first} has a problem of its own{shown}{_quote(said, endpoint)}.",
            retryable=True,
        )
    return ProviderError(
        REJECTED,
        f"{endpoint.first} refused the request for model {endpoint.model!r}{shown}{_quote(said, endpoint)}.",
        retryable=False,
    )


def _rate_limited(kind: str, headers: Mapping[str, str], endpoint: Endpoint, shown: str) -> ProviderError:
    if kind == "insufficient_quota":
        return ProviderError(
            RATE_LIMITED, f"{endpoint.first} refused: the account's quota is spent{shown}.", retryable=False
        )
    wait_s = retry_after_s(headers, datetime.now(UTC))
    hint = "" if wait_s is None else f"; it asks to wait {wait_s:g} s"
    return ProviderError(
        RATE_LIMITED,
        f"{endpoint.first} is over its rate limit{shown}{hint}.",
        retryable=True,
        retry_after_s=wait_s,
    )


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read how long a provider asks to wait.

    Args:
        headers: Response headers, with lower-case look-up.
        now: Aware instant that a ``Retry-After`` date is measured from.

    Returns:
        Seconds, >= 0. None when the provider did not say, or not in a way that can be read.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _read_body(body: object) -> tuple[str, str]:
    """Return an error body's kind and sentence; both APIs nest them in ``error`` or have them at the top."""
    if isinstance(body, Mapping):
        inner = body.get("error")
        if isinstance(inner, Mapping):
            return _read_body(inner)
        kinds = [value for value in (body.get("code"), body.get("type")) if isinstance(value, str)]
        kind = next((value for value in kinds if value in _STATUS_OF_TYPE), kinds[0] if kinds else "")
        said = inner if isinstance(inner, str) else body.get("message")
        return kind, said if isinstance(said, str) else ""
    return "", ""


def _quote(said: str, endpoint: Endpoint) -> str:
    words = " ".join(said.split())
    for secret in endpoint.secrets:
        words = words.replace(secret, "[key]")
    words = _KEY_LIKE.sub("[key]", words)
    if len(words) > _QUOTED_CHARS:
        words = words[:_QUOTED_CHARS] + "…"
    return f": {words.rstrip('. ')}" if words else ""
