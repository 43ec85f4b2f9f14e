"""Logs: one message a line, for people or for collectors."""

import json
import logging
import sys

import pytest
from hpack import Decoder, Encoder

from durachart.app.logs import JsonFormat, TextFormat, set_up_logs


def record(message: str, *arguments: object, error: bool = False) -> logging.LogRecord:
    made = logging.LogRecord("durachart.x", logging.WARNING, "x.py", 1, message, arguments, None)
    made.created = 1_900_000_000.25
    if error:
        try:
            raise ValueError("boom")
        except ValueError:
            made.exc_info = sys.exc_info()
    return made


def test_text_has_instant_level_logger_and_message() -> None:
    line = TextFormat().format(record("moved key=%s", "a"))
    assert line == "2030-03-17T17:46:40.250Z WARNING durachart.x: moved key=a"


def test_text_puts_a_traceback_below() -> None:
    lines = TextFormat().format(record("failed", error=True)).splitlines()
    assert lines[0].endswith("failed")
    assert lines[-1] == "ValueError: boom"


def test_json_is_one_line_whatever_is_in_it() -> None:
    line = JsonFormat().format(record("failed text=%s", "a\nb", error=True))
    assert "\n" not in line
    body = json.loads(line)
    assert body["level"] == "warning"
    assert body["message"] == "failed text=a\nb"
    assert body["exception"].endswith("ValueError: boom")


def test_what_libraries_log_of_headers_is_not_logged_at_any_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Credentials are among them."""
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        set_up_logs("debug", "text")
        Decoder().decode(Encoder().encode([(b"authorization", b"Bearer of-nothing")]), raw=True)
        logging.getLogger("durachart.x").debug("heard")
    finally:
        logging.getLogger().handlers[:], logging.getLogger().level = before
    said = capsys.readouterr().err
    assert "heard" in said
    assert "authorization" not in said
