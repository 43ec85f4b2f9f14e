"""Which servers share a database, where they can be called, and which of them has the text of a generation.

A node is there as long as its lease lasts; the database's clock says so, the same for all. Nothing depends on
these rows but how the text of a running generation finds its viewers: a row that is wrong, or too old, makes
text late, never wrong.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from durachart.store.keys import InstanceKey

SERVER_HOLDER = "server/"
"""What names a node as the holder of a lease: this, then its id."""


class RelayRow(NamedTuple):
    """Who has the text of the attempt that is being made.

    Attributes:
        node_id: The node.
        address: Where other nodes can call it, ``HOST:PORT``.
        attempt: Which attempt.
    """

    node_id: str
    address: str
    attempt: int


class NodeTable(Protocol):
    """The part of a store that nodes find each other by. Every method raises ``StoreFailed``.

    With a database of its own a server finds nobody, and nothing is kept.
    """

    async def read_relay_secret(self) -> str:
        """What the nodes of this database share and nobody else knows; empty where there is one node."""

    async def register_node(self, node_id: str, address: str, *, lease_ms: int) -> None:
        """Be there for so long from now. A node that is new removes the rows of those that are long gone."""

    async def remove_node(self, node_id: str) -> None:
        """Be gone, with all that the node had."""

    async def claim_feed(self, key: InstanceKey, effect_id: str, attempt: int, node_id: str) -> str:
        """Have the text of an attempt unless another node has it; returns the id of the node that has it."""

    async def release_feed(self, key: InstanceKey, effect_id: str, attempt: int, node_id: str) -> None:
        """Have it no more; nothing happens when another node has it."""

    async def find_relay(self, key: InstanceKey, effect_id: str) -> RelayRow | None:
        """Who has the text of the attempt that is being made; None: nobody who could be called."""
