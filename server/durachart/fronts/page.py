"""What HTTP answers beside calls: a page for people, one for health probes, and plain errors."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from durachart.fronts.wire import Header, Reply

_STYLE = "body{font:16px system-ui;margin:3rem auto;max-width:40rem}dt{color:#666}dd{margin:0 0 .7rem}"
_HINT = "gRPC on its own port; gRPC-Web and Connect here, as POST /package.Service/Method."


def front_page(facts: Mapping[str, str], services: Sequence[str], *, as_html: bool) -> Reply:
    """What this server is and where it listens."""
    if not as_html:
        return json_reply(200, {**facts, "services": services})
    rows = (
        f"<dt>{html.escape(name)}</dt><dd><code>{html.escape(value)}</code></dd>"
        for name, value in facts.items()
    )
    listed = (f"<li><code>{html.escape(name)}</code></li>" for name in services)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Durachart</title>'
        f"<style>{_STYLE}</style>"
        f"<h1>Durachart</h1><dl>{''.join(rows)}</dl>"
        f"<h2>Services</h2><ul>{''.join(listed)}</ul><p>{_HINT}</p></html>"
    )
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    return Reply(200, headers, page.encode())


def health(*, serving: bool) -> Reply:
    """200 while new calls are taken, else 503."""
    return json_reply(200 if serving else 503, {"status": "SERVING" if serving else "NOT_SERVING"})


def plain_error(status: int, message: str, *headers: Header) -> Reply:
    """An error of HTTP itself, in one sentence."""
    reply = json_reply(status, {"error": message})
    return reply._replace(headers=[*reply.headers, *headers])


def json_reply(status: int, content: Mapping[str, Any]) -> Reply:
    """A JSON document that nobody stores."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    return Reply(status, headers, orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
