"""What ``--json`` writes: one JSON value a line, with the names of the Python client's fields."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from durachart.app.cli.terminal import OUT


def emit(value: Any) -> None:
    """Write one value: a line in a pipe, indented on a terminal."""
    indent = 2 if OUT.is_terminal else None
    OUT.line(json.dumps(plain(value), ensure_ascii=False, indent=indent))


def kind_of(value: object) -> str:
    """The name of a value's class as the ``kind`` of a line: ``GenerationEnd`` is ``generation_end``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(value).__name__).lower()


def plain(value: Any) -> Any:
    """``value`` as JSON data: dataclasses become objects, instants RFC 3339 text in UTC."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value
