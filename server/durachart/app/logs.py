"""Logs on standard error: a constant message and ``key=value``, one message a line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from durachart.app.settings import LogFormat, LogLevel

_CHATTY = (
    "aiosqlite",
    "alembic",
    "anthropic",
    "asyncio",
    "hpack",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "openai",
    "uvicorn",
)


class TextFormat(logging.Formatter):
    """``2031-05-06T07:08:09.123Z INFO durachart.app.server: serving grpc=127.0.0.1:7575``."""

    def format(self, record: logging.LogRecord) -> str:
        """One message."""
        text = f"{_instant(record)} {record.levelname} {record.name}: {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonFormat(logging.Formatter):
    """One JSON object a message, a traceback inside it."""

    def format(self, record: logging.LogRecord) -> str:
        """One message."""
        body = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return json.dumps(body, ensure_ascii=False)


def set_up_logs(level: LogLevel, form: LogFormat) -> None:
    """Send messages of at least ``level`` to standard error; replaces what was set up before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormat() if form == "json" else TextFormat())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They announce each connection attempt, statement and header, credentials among them; what matters of
    # them is logged by us.
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


def _instant(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
