"""Header blocks: what a request's fields mean, and that remembering blocks changes nothing."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from durachart.fronts.http2.headers import (
    HARD_LIMIT_FACTOR,
    BlockBroken,
    Head,
    HeaderReader,
    HeadTooLarge,
    RequestMalformed,
    response_block,
    status_block,
    trailer_block,
)
from tests.rpc.http2 import header_block

Fields = list[tuple[bytes, bytes]]

REQUEST: Fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"here")]
# The newest entry of the table.
FIRST_ENTRY = b"\xbe"
TABLE_OF_NOTHING = b"\x20"
LONGEST = 64 * 1024


def reader() -> HeaderReader:
    return HeaderReader(LONGEST)


def literals(fields: Fields) -> bytes:
    return trailer_block(fields)


def test_a_request_says_what_it_is() -> None:
    more = [
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"1S"),
        (b"grpc-encoding", b"gzip"),
        (b"content-length", b"17"),
        (b"te", b"trailers"),
    ]
    head = reader().request(literals(REQUEST + more))
    fields = (*more, (b"host", b"here"))
    assert head == Head(b"POST", b"/a", fields, b"application/grpc", b"1S", b"gzip", 17)
    plain = reader().request(literals(REQUEST[:3]))
    assert plain == Head(b"POST", b"/a", (), b"", None, b"identity", None)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        REQUEST[1:],
        [REQUEST[0], *REQUEST[2:]],
        REQUEST[:2],
        [*REQUEST[:2], (b":path", b"")],
        [*REQUEST, REQUEST[0]],
        [*REQUEST, (b":status", b"200")],
        [*REQUEST, (b":unknown", b"")],
        [*REQUEST[:3], (b"a", b"b"), REQUEST[3]],
        [*REQUEST[:2], (b":path", b"/a\r\nb")],
        [*REQUEST[:3], (b":authority", b"here\0")],
        [*REQUEST, (b"", b"b")],
        [*REQUEST, (b"A", b"b")],
        [*REQUEST, (b"a b", b"b")],
        [*REQUEST, (b"a:", b"b")],
        [*REQUEST, (b"\xe4", b"b")],
        [*REQUEST, (b"a", b"b\r")],
        [*REQUEST, (b"a", b"b\n")],
        [*REQUEST, (b"a", b"\0")],
        [*REQUEST, (b"te", b"gzip")],
        [*REQUEST, (b"connection", b"close")],
        [*REQUEST, (b"keep-alive", b"1")],
        [*REQUEST, (b"proxy-connection", b"close")],
        [*REQUEST, (b"transfer-encoding", b"chunked")],
        [*REQUEST, (b"upgrade", b"h2c")],
        [*REQUEST, (b"content-length", b"")],
        [*REQUEST, (b"content-length", b"-1")],
        [*REQUEST, (b"content-length", b"1_0")],
        [*REQUEST, (b"content-length", b"9" * 19)],
        [*REQUEST, (b"content-length", b"1"), (b"content-length", b"2")],
    ],
)
def test_fields_that_are_no_request_are_malformed(fields: Fields) -> None:
    requests = reader()
    for _ in range(2):
        with pytest.raises(RequestMalformed):
            requests.request(literals(fields))
    # The table is as it was: the connection goes on.
    assert requests.request(literals(REQUEST)).path == b"/a"


@pytest.mark.parametrize(
    "fields", [[(b":path", b"/a")], [(b"A", b"b")], [(b"a", b"\r\n")], [(b"connection", b"close")]]
)
def test_trailers_have_rules_of_their_own(fields: Fields) -> None:
    with pytest.raises(RequestMalformed):
        reader().trailers(literals(fields))
    reader().trailers(literals([(b"a", b"b")]))


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\xbe",
        b"\xff",
        b"\xff" + b"\xff" * 20,
        b"\x00\x05abc",
        b"\x00\x01",
        b"\x00\x81\xff\x01a",
        b"\x3f\xe2\x1f",
        literals([(b"a", b"b")]) + TABLE_OF_NOTHING,
        TABLE_OF_NOTHING * 3 + literals(REQUEST),
        b"\x3f\xe1\x1f" * 3 + literals(REQUEST),
        literals([(b"a", b"x" * HARD_LIMIT_FACTOR * LONGEST)]),
        b"\x40\x01a\x7f\x81\x1e" + b"x" * 4_000 + FIRST_ENTRY * 20 * HARD_LIMIT_FACTOR,
    ],
)
def test_a_block_that_cannot_be_decoded_breaks_the_connection(block: bytes) -> None:
    with pytest.raises(BlockBroken):
        reader().request(block)
    with pytest.raises(BlockBroken):
        reader().trailers(block)


def test_fields_that_are_too_many_are_refused_and_the_table_goes_on() -> None:
    requests = reader()
    enters = b"\x40\x01k\x01v"
    with pytest.raises(HeadTooLarge):
        requests.request(literals([*REQUEST, (b"a", b"x" * LONGEST)]) + enters)
    # What entered the table with it is there.
    assert (b"k", b"v") in requests.request(literals(REQUEST) + FIRST_ENTRY).fields


def test_requests_whose_blocks_are_the_same_share_what_was_made_of_them() -> None:
    requests = reader()
    first = requests.request(literals(REQUEST))
    first.reading = "read"
    assert requests.request(literals(REQUEST)) is first


def test_what_is_remembered_is_forgotten_when_the_table_changes() -> None:
    requests = reader()
    named = literals(REQUEST) + FIRST_ENTRY

    def value() -> bytes:
        return requests.request(named).fields[0][1]

    requests.request(literals(REQUEST) + b"\x40\x01a\x01b")
    assert [value(), value()] == [b"b", b"b"]
    requests.request(literals(REQUEST) + b"\x40\x01a\x01c")
    assert [value(), value()] == [b"c", b"c"]
    # Trailers write into the same table.
    requests.trailers(b"\x40\x01a\x01d")
    assert [value(), value()] == [b"d", b"d"]
    # So do requests that are none.
    with pytest.raises(RequestMalformed):
        requests.request(b"\x40\x01a\x01e")
    assert [value(), value()] == [b"e", b"e"]
    # The same entry once more, in place of the one before.
    requests.request(TABLE_OF_NOTHING + b"\x3f\xe1\x1f" + literals(REQUEST) + b"\x40\x01a\x01f")
    assert [value(), value()] == [b"f", b"f"]
    requests.request(TABLE_OF_NOTHING + literals(REQUEST))
    with pytest.raises(BlockBroken):
        value()


def test_what_is_remembered_is_little_whatever_a_block_stands_for() -> None:
    requests = reader()
    requests.request(literals(REQUEST) + b"\x40\x01a\x7f\x81\x17" + b"x" * 3_072)
    many = literals(REQUEST) + FIRST_ENTRY * 10
    assert len(many) < 100
    assert requests.request(many) is not requests.request(many)
    for number in range(2_000):
        requests.request(literals([*REQUEST, (b"number", b"%d" % number)]))
    last = literals([*REQUEST, (b"number", b"1999")])
    assert requests.request(last) is not requests.request(last)


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 256, 16_510, 16_511, 70_000, 2_200_000])
def test_strings_of_every_length_are_written_as_hpack_reads_them(size: int) -> None:
    fields = [(b"a", b"x" * size), (b"b" * (size or 1), b"y")]
    decoder = Decoder(max_header_list_size=10_000_000)
    assert list(decoder.decode(trailer_block(fields), raw=True)) == fields
    assert list(decoder.decode(response_block(fields), raw=True)) == [(b":status", b"200"), *fields]
    assert not decoder.header_table.dynamic_entries


@pytest.mark.parametrize("status", [200, 404, 415])
def test_a_status_is_written_as_hpack_reads_it(status: int) -> None:
    assert list(Decoder().decode(status_block(status), raw=True)) == [(b":status", b"%d" % status)]


def test_the_blocks_of_the_tests_are_read_alike() -> None:
    assert reader().request(header_block(REQUEST)) == reader().request(literals(REQUEST))


_names = st.sampled_from([b"a", b"b", b"grpc-timeout", b"content-type", b"user-agent", b"x-long"])
_values = st.sampled_from([b"", b"1", b"trailers", b"x" * 100, b"y" * 3_000])
_requests = st.tuples(
    st.sampled_from([b"/a", b"/b"]),
    st.lists(st.tuples(_names, _values), max_size=4),
    st.booleans(),
    st.sampled_from([None, None, None, 0, 64, 4_096]),
)


@given(requests=st.lists(_requests, max_size=25))
def test_remembering_blocks_changes_nothing(
    requests: list[tuple[bytes, Fields, bool, int | None]],
) -> None:
    encoder = Encoder()
    remembering = reader()
    plain = Decoder(max_header_list_size=LONGEST)
    for path, fields, huffman, table in requests:
        if table is not None:
            encoder.header_table_size = table
        sent = [*REQUEST[:2], (b":path", path), *fields]
        block = encoder.encode(sent, huffman=huffman)
        assert list(plain.decode(block, raw=True)) == sent
        for head in (remembering.request(block), HeaderReader(LONGEST).request(literals(sent))):
            assert (head.path, list(head.fields)) == (path, fields)
