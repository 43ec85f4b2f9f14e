"""Where ``http.request`` may connect to.

A definition, or data in an event, decides which host is called. So that nobody reaches by way of the server
what only the server can reach (itself, its neighbours, the cloud's metadata service), only public addresses
are connected to unless the operator allows more. What is judged is the address that is connected to, after
the name was resolved and before a byte is sent; so neither a name that resolves to a private address, nor one
that resolves to another address the second time, gets around it.

Not covered: a public address that is routed into a private network, what a public server does with the
request, and whatever an operator allows by name, which may resolve to any address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
# An IPv4 address inside an IPv6 one, for translators at the edge of a network.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Hosts:
    """Some hosts: names, and networks.

    Attributes:
        names: Lower-case; one that begins with ``*.`` stands for every name below it.
        networks: Addresses; a single one is a network of its own.
    """

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def has_name(self, name: str) -> bool:
        """Whether this is one of the names, or below one that begins with ``*.``."""
        if name in self.names:
            return True
        labels = name.split(".")
        return any(f"*.{'.'.join(labels[at:])}" in self.names for at in range(1, len(labels)))

    def has_address(self, address: Address) -> bool:
        """Whether it is in one of the networks."""
        return any(address.version == one.version and address in one for one in self.networks)


@dataclass(frozen=True, slots=True)
class HttpTargets:
    """Where requests may go: public addresses, what is allowed beside them, and nothing that is denied.

    Attributes:
        allow: Allowed although not public.
        deny: Denied although public or allowed.
    """

    allow: Hosts = Hosts()
    deny: Hosts = Hosts()

    def permits(self, name: str, address: Address) -> bool:
        """Whether a request to ``name`` may connect to ``address``."""
        name = name.lower().rstrip(".")
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        reached = (mapped or address, *_embedded(address))
        every = (address, *reached)
        if self.deny.has_name(name) or any(map(self.deny.has_address, every)):
            return False
        allowed = self.allow.has_name(name) or any(map(self.allow.has_address, every))
        return allowed or all(map(_is_public, reached))


def read_hosts(words: Iterable[str]) -> Hosts:
    """Hosts from names (``api.internal``, ``*.internal``), addresses and networks (``10.1.0.0/16``).

    Raises:
        ValueError: A word is none of these; the text says which.
    """
    names, networks = set(), []
    for word in words:
        try:
            networks.append(ipaddress.ip_network(word.strip("[]")))
        except ValueError:
            name = word.lower().rstrip(".")
            numeric = "/" in word or name.replace(".", "").isdigit()
            if numeric or not _NAME.fullmatch(name):
                raise ValueError(
                    f"{word!r} is no host; write a name, *.NAME, an address, or a network such as 10.1.0.0/16"
                ) from None
            names.add(name)
    return Hosts(frozenset(names), tuple(networks))


def _is_public(address: Address) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (address.is_multicast or site_local)


def _embedded(address: Address) -> list[Address]:
    """IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return [one for one in found if one is not None]
