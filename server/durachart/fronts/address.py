"""Where a front listens, and one clear sentence when it cannot."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

_BACKLOG = 4096


class CannotListen(Exception):
    """A front could not begin to listen; the text says where, why and what to do."""


class Address(NamedTuple):
    """A TCP address.

    Attributes:
        host: Name or address; an IPv6 address without brackets.
        port: 0 lets the system choose one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


GRPC_DEFAULT = Address("127.0.0.1", 7575)
HTTP_DEFAULT = Address("127.0.0.1", 7576)


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT`` (which is every interface).

    Raises:
        ValueError: It is none of these; the text says what is expected.
    """
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if (
        not separator
        or not (port.isascii() and port.isdecimal())
        or int(port) > 65535
        or (":" in host and not bracketed)
    ):
        raise ValueError(f"{text!r} is not an address: write HOST:PORT, for example 127.0.0.1:7575")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 -- that is what the caller asked for


def listen(address: Address, option: str) -> socket.socket:
    """Bind and listen.

    Args:
        address: Where.
        option: The setting that chose it, which the error names.

    Returns:
        A listening socket, non-blocking.

    Raises:
        CannotListen: The address is taken, unknown, or not allowed.
    """
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, place = found[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise cannot_listen(address, option, error) from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(place)
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise cannot_listen(address, option, error) from error
    return made


def cannot_listen(address: Address, option: str, error: OSError) -> CannotListen:
    """The error to raise for ``error``, in one sentence."""
    if isinstance(error, socket.gaierror):
        why, advice = "the host name is not known", f"give an address of this machine with {option}"
    elif error.errno == errno.EADDRINUSE:
        why, advice = "the port is in use", f"stop the program that uses it, or choose another with {option}"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        why, advice = "the system does not allow it", f"choose a port above 1023 with {option}"
    elif error.errno == errno.EADDRNOTAVAIL:
        why, advice = "this machine has no such address", f"give one of its own with {option}"
    else:
        why, advice = error.strerror or "the system refused", f"choose another address with {option}"
    return CannotListen(f"cannot listen on {address}: {why}; {advice}")
