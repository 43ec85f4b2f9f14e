"""``log``: writes the effect's parameters to the server's log.

``level`` (``debug``, ``info``, ``warning`` or ``error``; default ``info``) sets the level, ``message`` the
text; every other parameter is shown as it is. It has no output.
"""

from __future__ import annotations

import json
import logging
from typing import Final

from durachart.workers.errors import EffectRejected
from durachart.workers.generation_params import PARAMS_INVALID
from durachart.workers.handlers import Attempt

_log = logging.getLogger("durachart.effects.log")
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_SHOWN_CHARS = 4_000


class LogHandler:
    """Runs ``log``."""

    name = "log"
    timeout_reason = "EFFECT_TIMEOUT"
    concurrency = 16

    async def run(self, attempt: Attempt) -> object:
        """Write one line; see `EffectHandler.run`."""
        level = _LEVELS.get(str(attempt.params.get("level") or "info"))
        if level is None:
            levels = ", ".join(_LEVELS)
            raise EffectRejected(
                PARAMS_INVALID, f"The parameters of log are not valid: `level` must be one of {levels}."
            )
        message = attempt.params.get("message", attempt.type)
        rest = {name: value for name, value in attempt.params.items() if name not in ("level", "message")}
        _log.log(
            level,
            "%s instance=%s effect_id=%s params=%s",
            _one_line(message if isinstance(message, str) else json.dumps(message)),
            attempt.key,
            attempt.effect_id,
            _one_line(json.dumps(rest, ensure_ascii=False)),
        )
        return None


def _one_line(text: str) -> str:
    """Shortened, and without line breaks, so that no parameter can pose as a line of its own."""
    line = " ".join(text.splitlines())
    return line if len(line) <= _SHOWN_CHARS else line[:_SHOWN_CHARS] + "…"
