"""Tokens that callers hand back without looking into them.

Each is versioned and names what it belongs to, so that one from elsewhere is recognised and refused, and what
is inside may change without breaking a client.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

from durachart.runtime.errors import PageTokenInvalid, ResumeTokenInvalid
from durachart.store.keys import InstanceKey

_FORMAT: Final = 1
_LARGEST: Final = 2**63 - 1


def encode(fields: list[Any]) -> str:
    """A list of JSON values as a token: letters, digits, ``-`` and ``_``."""
    return urlsafe_b64encode(orjson.dumps([_FORMAT, *fields])).rstrip(b"=").decode()


def decode(token: str) -> list[Any] | None:
    """The list, or None when the text is no token of this format."""
    try:
        fields = orjson.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError):
        return None
    if type(fields) is not list or not fields or fields[0] != _FORMAT:
        return None
    # No position is larger than what a database counts in.
    if any(type(field) is int and field > _LARGEST for field in fields):
        return None
    return fields[1:]


class PageTokens:
    """Page tokens of one list: the position after which the next page begins.

    A token is good for the list, and the filter, that it was given out for.
    """

    def __init__(self, *list_and_filter: str) -> None:
        self._mark = blake2b("\0".join(list_and_filter).encode(), digest_size=8).hexdigest()

    def make(self, *position: str | int) -> str:
        """The token of the page after ``position``."""
        return encode([self._mark, *position])

    def read(self, token: str, *kinds: type) -> tuple[Any, ...]:
        """The position in ``token``.

        Args:
            token: As a caller sent it; not empty.
            kinds: Types of the position's parts.

        Raises:
            PageTokenInvalid: It was given out for another list, or by nobody.
        """
        fields = decode(token)
        if (
            fields is None
            or len(fields) != 1 + len(kinds)
            or fields[0] != self._mark
            or any(type(part) is not kind for part, kind in zip(fields[1:], kinds, strict=True))
        ):
            raise PageTokenInvalid
        return tuple(fields[1:])


class ResumePoint(NamedTuple):
    """Where a watch stands.

    Attributes:
        revision: Everything of interest up to here was sent.
        snapshot_of: While snapshots are sent: key of the instance whose snapshot was the last. None: all were
            sent.
    """

    revision: int
    snapshot_of: InstanceKey | None = None


class ResumeTokens:
    """Resume tokens of one store. They hold across restarts and on every node."""

    def __init__(self, store_uid: str) -> None:
        self._store = store_uid[:8]

    def make(self, point: ResumePoint) -> str:
        """The token that goes on strictly after ``point``."""
        return encode([self._store, point.revision, *(point.snapshot_of or ())])

    def read(self, token: str) -> ResumePoint:
        """The point in ``token``, which must not be empty.

        Raises:
            ResumeTokenInvalid: It belongs to another store, or was given out by nobody.
        """
        fields = decode(token)
        if fields is None or len(fields) not in (2, 5) or fields[0] != self._store:
            raise ResumeTokenInvalid
        _, revision, *names = fields
        if type(revision) is not int or revision < 0 or any(type(name) is not str for name in names):
            raise ResumeTokenInvalid
        return ResumePoint(revision, InstanceKey(*names) if names else None)
