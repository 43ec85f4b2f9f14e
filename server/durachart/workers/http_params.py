"""Reads the parameters of ``http.request``.

    url:                 where to, http or https, without user and password; required
    method:              GET by default, POST when there is something to send
    headers:             {name: text}
    json:                sent as JSON; null is sent as null
    body:                text to send instead, as text/plain unless `headers` say otherwise
    timeout_ms:          how long the whole request may take, 1 to 3,600,000; 30,000 by default
    expect:              [status, …] that count as success; 200 to 299 by default
    idempotency_header:  name of the header that carries the effect's id; "" sends none

What depends on the connection itself (``Host``, ``Content-Length``, …) cannot be set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from durachart.workers.errors import EffectRejected
from durachart.workers.generation_params import PARAMS_INVALID

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
DEFAULT_TIMEOUT_MS: Final = 30_000
LONGEST_TIMEOUT_MS: Final = 3_600_000

_KEYS: Final = ("url", "method", "headers", "json", "body", "timeout_ms", "expect", "idempotency_header")
_METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
# Hop by hop, or decided by what is sent.
_OUR_OWN: Final = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer"),
        *("upgrade", "expect", "accept-encoding", "proxy-authorization", "proxy-connection"),
    }
)
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]{0,8192}")
_MOST_HEADERS, _LONGEST_URL = 100, 8_192


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request.

    Attributes:
        method: In capitals.
        url: As it is sent: without fragment, host in ASCII.
        host: Scheme, host and port of ``url``, for messages: what comes after may hold secrets.
        headers: As the definition has them.
        content: What is sent; None: nothing.
        content_type: Of ``content``, unless ``headers`` have one; ``""`` when nothing is sent.
        timeout_ms: How long the whole request may take.
        expect: Statuses that count as success; empty: 200 to 299.
        idempotency_header: Carries the effect's id; ``""``: none does.
    """

    method: str
    url: str
    host: str
    headers: Mapping[str, str]
    content: bytes | None
    content_type: str
    timeout_ms: int
    expect: frozenset[int]
    idempotency_header: str

    def expects(self, status: int) -> bool:
        """Whether an answer of this status is a success."""
        return status in self.expect if self.expect else 200 <= status <= 299


def read_http_request(params: Mapping[str, Any]) -> HttpRequest:
    """Return the request.

    Raises:
        EffectRejected: PARAMS_INVALID, naming the parameter and what it must be.
    """
    for name in params:
        if name not in _KEYS:
            raise _invalid(f"there is no parameter {name!r}; the parameters are {', '.join(_KEYS)}")
    url, host = _url(params.get("url"))
    content, content_type = _content(params)
    return HttpRequest(
        method=_method(params.get("method"), "GET" if content is None else "POST"),
        url=url,
        host=host,
        headers=_headers(params.get("headers")),
        content=content,
        content_type=content_type,
        timeout_ms=_timeout_ms(params.get("timeout_ms")),
        expect=_expect(params.get("expect")),
        idempotency_header=_idempotency_header(params.get("idempotency_header")),
    )


def _url(value: object) -> tuple[str, str]:
    # Imported here: it takes long, and most servers never send a request.
    from httpx2 import URL, InvalidURL

    if not isinstance(value, str) or not value or len(value) > _LONGEST_URL:
        raise _invalid(f"`url` must be text of 1 to {_LONGEST_URL:,} characters")
    try:
        url = URL(value)
    except InvalidURL as error:
        raise _invalid(f"`url` is not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or not 0 <= (url.port or 0) <= 65_535:
        raise _invalid("`url` must be http://HOST… or https://HOST…")
    if url.userinfo:
        raise _invalid("`url` must hold no user or password; send an Authorization header")
    return str(url.copy_with(fragment=None)), f"{url.scheme}://{url.netloc.decode('ascii')}"


def _content(params: Mapping[str, Any]) -> tuple[bytes | None, str]:
    if "json" in params and params.get("body") is not None:
        raise _invalid("`json` and `body` are two ways to say what is sent; give one")
    if "json" in params:
        return json.dumps(params["json"], ensure_ascii=False).encode(), "application/json"
    body = params.get("body")
    if body is None:
        return None, ""
    if not isinstance(body, str):
        raise _invalid("`body` must be text; send anything else as `json`")
    return body.encode(), "text/plain; charset=utf-8"


def _method(value: object, default: str) -> str:
    if value is None:
        return default
    method = value.upper() if isinstance(value, str) else ""
    if method not in _METHODS:
        raise _invalid(f"`method` must be one of {', '.join(_METHODS)}")
    return method


def _headers(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _MOST_HEADERS:
        raise _invalid(f"`headers` must be an object of at most {_MOST_HEADERS} names with their values")
    for name, text in value.items():
        if not _TOKEN.fullmatch(name):
            raise _invalid(f"{name!r} in `headers` is not the name of a header")
        if name.lower() in _OUR_OWN:
            raise _invalid(f"`headers.{name}` belongs to the connection and cannot be set")
        if not isinstance(text, str) or not _VALUE.fullmatch(text):
            raise _invalid(f"`headers.{name}` must be one line of at most 8,192 ASCII characters")
    return value


def _timeout_ms(value: object) -> int:
    if value is None:
        return DEFAULT_TIMEOUT_MS
    number = _whole(value)
    if number is None or not 1 <= number <= LONGEST_TIMEOUT_MS:
        raise _invalid(f"`timeout_ms` must be a whole number from 1 to {LONGEST_TIMEOUT_MS:,}")
    return number


def _expect(value: object) -> frozenset[int]:
    if value is None:
        return frozenset()
    statuses = [_whole(one) for one in value] if isinstance(value, list) else []
    if not statuses or not all(one is not None and 200 <= one <= 599 for one in statuses):
        raise _invalid("`expect` must be a list of statuses from 200 to 599")
    return frozenset(one for one in statuses if one is not None)


def _idempotency_header(value: object) -> str:
    if value is None:
        return IDEMPOTENCY_KEY
    if not isinstance(value, str) or (value and not _TOKEN.fullmatch(value)) or value.lower() in _OUR_OWN:
        raise _invalid('`idempotency_header` must be the name of a header, or "" for none')
    return value


def _whole(value: object) -> int | None:
    """A whole number, also one that an expression made a double."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def _invalid(message: str) -> EffectRejected:
    return EffectRejected(PARAMS_INVALID, f"The parameters of http.request are not valid: {message}.")
