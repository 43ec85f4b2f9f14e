"""Compressed messages: undone within bounds, whatever they stand for."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durachart.fronts.compression import ACCEPTED, Inflate, inflate_of
from durachart.fronts.http_body import Envelopes, only_message
from durachart.rpc.status import RpcError

Compress = Callable[[bytes], bytes]
CODINGS: list[tuple[bytes, Compress]] = [(b"gzip", gzip.compress), (b"deflate", zlib.compress)]


class Body:
    """A body in pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)

    async def chunk(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def inflate(coding: bytes) -> Inflate:
    found = inflate_of(coding)
    assert found is not None
    return found


def envelope(message: bytes, flags: int = 1) -> bytes:
    return bytes((flags,)) + len(message).to_bytes(4, "big") + message


def reason(coding: bytes, data: bytes, limit: int) -> str:
    with pytest.raises(RpcError) as refused:
        inflate(coding)(data, limit)
    return refused.value.reason


def test_codings_are_known_by_name_in_any_case() -> None:
    assert inflate_of(b"identity") is None
    assert inflate_of(b"GZIP") is inflate_of(b"gzip")
    assert all(each.strip() in {b"identity", b"gzip", b"deflate"} for each in ACCEPTED.split(b","))


@pytest.mark.parametrize("coding", [b"br", b"", b"snappy", b"gzip, gzip", b"\xff"])
def test_a_coding_that_is_not_known_is_refused(coding: bytes) -> None:
    with pytest.raises(RpcError) as refused:
        inflate_of(coding)
    assert refused.value.reason == "COMPRESSION_UNSUPPORTED"


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
@given(message=st.binary(max_size=300))
def test_what_was_compressed_comes_back(coding: bytes, compress: Compress, message: bytes) -> None:
    assert inflate(coding)(compress(message), 300) == message


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
def test_a_message_may_be_as_long_as_its_bound_and_no_longer(coding: bytes, compress: Compress) -> None:
    assert inflate(coding)(compress(b"x" * 100), 100) == b"x" * 100
    assert reason(coding, compress(b"x" * 101), 100) == "MESSAGE_TOO_LARGE"


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
def test_a_bomb_costs_no_more_than_the_bound(coding: bytes, compress: Compress) -> None:
    bomb = compress(bytes(20_000_000))
    tracemalloc.start()
    try:
        assert reason(coding, bomb, 10_000) == "MESSAGE_TOO_LARGE"
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 500_000


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
def test_what_does_not_end_where_it_should_is_malformed(coding: bytes, compress: Compress) -> None:
    good = compress(b"a message")
    for bad in (b"", b"no such thing", good[:-1], good + b"x", good + good, good[:-4] + bytes(4)):
        assert reason(coding, bad, 100) == "MESSAGE_MALFORMED"


@given(data=st.binary(max_size=50), coding=st.sampled_from([b"gzip", b"deflate"]))
def test_any_bytes_are_a_message_or_refused(data: bytes, coding: bytes) -> None:
    with contextlib.suppress(RpcError):
        assert len(inflate(coding)(data, 100)) <= 100


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
@given(cut=st.integers(1, 20))
async def test_messages_of_a_stream_are_compressed_or_not_one_by_one(
    coding: bytes, compress: Compress, cut: int
) -> None:
    whole = envelope(compress(b"one")) + envelope(b"two", flags=0) + envelope(compress(b""))
    body = Body([whole[at : at + cut] for at in range(0, len(whole), cut)])
    each = Envelopes(body, 100, inflate=inflate(coding)).each()
    assert [message async for message in each] == [b"one", b"two", b""]


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
async def test_a_bomb_in_a_stream_is_refused_as_it_is_alone(coding: bytes, compress: Compress) -> None:
    bomb = envelope(compress(b"x" * 1_000))
    for limit, why in ((999, "MESSAGE_TOO_LARGE"), (5, "MESSAGE_TOO_LARGE")):
        with pytest.raises(RpcError) as alone:
            only_message(bomb, limit, inflate(coding))
        with pytest.raises(RpcError) as streamed:
            await anext(Envelopes(Body([bomb]), limit, inflate=inflate(coding)).each())
        assert alone.value.reason == streamed.value.reason == why
    assert only_message(bomb, 1_000, inflate(coding)) == b"x" * 1_000


async def test_a_message_that_says_it_is_compressed_where_nothing_was_agreed_is_refused() -> None:
    with pytest.raises(RpcError) as refused:
        only_message(envelope(b"x"), 100, inflate_of(b"identity"))
    assert refused.value.reason == "COMPRESSION_UNSUPPORTED"
