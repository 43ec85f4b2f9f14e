"""What a command must be whatever is stored: checked before it waits, refused without a journal row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from durachart.runtime.errors import InvalidArgument
from durachart.store.keys import InstanceKey

MAX_NAMESPACE: Final = 128
MAX_MACHINE_ID: Final = 128
MAX_INSTANCE_ID: Final = 256
MAX_EVENT_TYPE: Final = 256
MAX_REQUEST_ID: Final = 128
MAX_LABELS: Final = 32
MAX_LABEL: Final = 128
RESERVED_PREFIX: Final = "xstate."

_NAMESPACE = re.compile(r"[A-Za-z0-9._-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def require_key(key: InstanceKey) -> None:
    """Raises InvalidArgument unless the key can name an instance."""
    namespace, machine_id, instance_id = key
    if namespace and (len(namespace) > MAX_NAMESPACE or not _NAMESPACE.fullmatch(namespace)):
        raise InvalidArgument(
            "instance.namespace",
            f"must be at most {MAX_NAMESPACE} characters of A-Z, a-z, 0-9, '.', '_' and '-'",
        )
    if not 0 < len(machine_id) <= MAX_MACHINE_ID or _CONTROL.search(machine_id):
        raise InvalidArgument(
            "instance.machine_id",
            f"must have 1 to {MAX_MACHINE_ID} characters, none of them a control character",
        )
    if not 0 < len(instance_id) <= MAX_INSTANCE_ID or (
        not instance_id.isprintable() and _CONTROL.search(instance_id)
    ):
        raise InvalidArgument(
            "instance.instance_id",
            f"must have 1 to {MAX_INSTANCE_ID} characters, none of them a control character",
        )


def require_event_type(event_type: str) -> None:
    """Raises InvalidArgument unless callers may send events of this type."""
    if not 0 < len(event_type) <= MAX_EVENT_TYPE:
        raise InvalidArgument("event.type", f"must have 1 to {MAX_EVENT_TYPE} characters")
    if event_type.startswith(RESERVED_PREFIX):
        raise InvalidArgument(
            "event.type",
            f"{event_type!r} is not taken: types beginning with {RESERVED_PREFIX!r} are internal",
        )
    if event_type == "*":
        raise InvalidArgument("event.type", "'*' matches events and is none itself; name the event")
    _require_no_nul("event.type", event_type)


def require_request_id(request_id: str) -> None:
    """Raises InvalidArgument when the request id is too long, or holds what no database keeps."""
    if len(request_id) > MAX_REQUEST_ID:
        raise InvalidArgument("request_id", f"must have at most {MAX_REQUEST_ID} characters")
    _require_no_nul("request_id", request_id)


def require_labels(labels: Mapping[str, str]) -> None:
    """Raises InvalidArgument when there are too many labels, or one is too long or cannot be kept."""
    if len(labels) > MAX_LABELS:
        raise InvalidArgument("labels", f"must be at most {MAX_LABELS}")
    for name, value in labels.items():
        if not 0 < len(name) <= MAX_LABEL or len(value) > MAX_LABEL:
            raise InvalidArgument(
                "labels", f"keys must have 1 to {MAX_LABEL} characters, values at most {MAX_LABEL}"
            )
        _require_no_nul("labels", name + value)


def _require_no_nul(field: str, text: str) -> None:
    # PostgreSQL's text holds every character but this one. JSON is not concerned: there it is escaped.
    if "\0" in text:
        raise InvalidArgument(field, "must not hold the character U+0000")
