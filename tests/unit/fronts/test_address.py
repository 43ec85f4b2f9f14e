"""Where a front listens, as people write it."""

from __future__ import annotations

import errno
import os

import pytest

from durachart.fronts.address import Address, CannotListen, cannot_listen, listen, parse_address


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("127.0.0.1:7575", Address("127.0.0.1", 7575), "127.0.0.1:7575"),
        ("localhost:0", Address("localhost", 0), "localhost:0"),
        ("[::1]:7575", Address("::1", 7575), "[::1]:7575"),
        (":7575", Address("0.0.0.0", 7575), "0.0.0.0:7575"),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address, written: str) -> None:
    assert parse_address(text) == address
    assert str(address) == written


@pytest.mark.parametrize(
    "text", ["", "7575", "localhost", "localhost:", "localhost:http", "::1:7575", "a:70000", "a:-1", "a:١"]
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write HOST:PORT, for example 127\.0\.0\.1:7575"):
        parse_address(text)


def test_a_taken_port_is_found_out() -> None:
    with listen(Address("127.0.0.1", 0), "--http") as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(CannotListen, match="the port is in use"):
            listen(address, "--http")


def test_an_unknown_host_is_found_out() -> None:
    with pytest.raises(
        CannotListen, match="the host name is not known; give an address of this machine with --http"
    ):
        listen(Address("no such host", 1), "--http")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "the system does not allow it; choose a port above 1023 with --listen"),
        (errno.EADDRNOTAVAIL, "this machine has no such address; give one of its own with --listen"),
        (errno.EMFILE, "Too many open files; choose another address with --listen"),
    ],
)
def test_every_cause_has_its_advice(number: int, said: str) -> None:

    error = cannot_listen(Address("a", 1), "--listen", OSError(number, os.strerror(number)))
    assert str(error) == f"cannot listen on a:1: {said}"
