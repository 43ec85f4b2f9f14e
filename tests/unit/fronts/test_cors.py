"""Which pages may call."""

from __future__ import annotations

import pytest

from durachart.fronts.cors import Cors


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), None, True),
        ((), b"https://app.example", False),
        (("https://app.example",), b"https://app.example", True),
        (("https://App.example/",), b"https://app.example", True),
        (("https://app.example",), b"http://app.example", False),
        (("https://app.example",), b"https://app.example:8443", False),
        (("https://app.example",), b"null", False),
        (("*",), b"null", True),
        ((), b"http://127.0.0.1:7576", True),
    ],
)
def test_pages_are_let_in_by_their_origin(
    origins: tuple[str, ...], origin: bytes | None, allowed: bool
) -> None:
    headers = {b"host": b"127.0.0.1:7576"}
    if origin is not None:
        headers[b"origin"] = origin
    assert Cors(origins).allows(headers) is allowed


def test_a_program_is_told_nothing() -> None:
    assert Cors(("*",)).headers({}) == []


def test_every_page_is_allowed_without_naming_it() -> None:
    assert (
        dict(Cors(("*",)).headers({b"origin": b"https://a.example"}))[b"access-control-allow-origin"] == b"*"
    )
