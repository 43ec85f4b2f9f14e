"""What a handler may know and send, whichever front its call came through."""

from __future__ import annotations

import asyncio

import pytest

from durachart.rpc.context import CallContext, Metadata, incoming_traceparent, normalise_peer

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_metadata_keeps_order_and_repetition() -> None:
    metadata = Metadata([("a", "1"), ("b-bin", b"\x00"), ("a", "2")])
    assert metadata.get("a") == "1"
    assert metadata.get_all("a") == ["1", "2"]
    assert metadata.get("b-bin") == ""
    assert metadata.get_all("b-bin") == [b"\x00"]
    assert metadata.get("c", "none") == "none"
    assert metadata.entries() == (("a", "1"), ("b-bin", b"\x00"), ("a", "2"))


@pytest.mark.parametrize(
    ("peer", "written"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1:5000"),
        ("ipv6:%5B::1%5D:5000", "[::1]:5000"),
        ("ipv6:[::1]:5000", "[::1]:5000"),
        ("unix:/run/durachart.sock", "unix:/run/durachart.sock"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("", ""),
    ],
)
def test_a_peer_is_written_the_same_way_for_every_front(peer: str, written: str) -> None:
    assert normalise_peer(peer) == written


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        TRACEPARENT.upper(),
        TRACEPARENT.replace("00-0", "ff-0", 1),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        TRACEPARENT + "\n",
    ],
)
def test_a_trace_context_that_is_not_well_formed_is_dropped(value: str) -> None:
    assert incoming_traceparent(Metadata([("traceparent", value)])) == ""


def test_a_well_formed_trace_context_is_handed_on() -> None:
    assert CallContext("x/Y", metadata=Metadata([("traceparent", TRACEPARENT)])).traceparent == TRACEPARENT


async def test_the_time_left_never_goes_below_zero() -> None:
    now = asyncio.get_running_loop().time()
    assert CallContext("x/Y").time_remaining() is None
    assert CallContext("x/Y", deadline=now - 1).time_remaining() == 0.0
    left = CallContext("x/Y", deadline=now + 60).time_remaining()
    assert left is not None
    assert 0 < left <= 60


def test_headers_are_taken_until_they_are_sent_and_trailers_always() -> None:
    ctx = CallContext("x/Y")
    ctx.add_header("x-a", "1")
    assert ctx.take_headers() == (("x-a", "1"),)
    with pytest.raises(RuntimeError, match="were sent already"):
        ctx.add_header("x-b", "2")
    ctx.add_trailer("x-c-bin", b"\xff")
    assert ctx.trailers() == (("x-c-bin", b"\xff"),)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("X-Upper", "a"),
        ("grpc-status", "0"),
        ("connect-x", "a"),
        ("with space", "a"),
        ("", "a"),
        ("x-text", b"bytes"),
        ("x-bin", "text"),
        ("x-text", "line\r\nbreak"),
        ("x-text", "\u00e9"),
    ],
)
def test_what_cannot_be_sent_cannot_be_added(key: str, value: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"key|value"):
        CallContext("x/Y").add_trailer(key, value)
