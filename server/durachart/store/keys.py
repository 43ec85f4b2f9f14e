"""Which instance, and where it is stored."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Final, NamedTuple

SHARDS: Final = 256


class InstanceKey(NamedTuple):
    """Names one instance.

    Attributes:
        namespace: Tenant or environment; ``""`` is the default one.
        machine_id: The machine's id.
        instance_id: The caller's own key of the entity.
    """

    namespace: str
    machine_id: str
    instance_id: str

    def __str__(self) -> str:
        name = f"{self.machine_id}/{self.instance_id}"
        return f"{self.namespace}:{name}" if self.namespace else name


@lru_cache(maxsize=16_384)
def shard(key: InstanceKey) -> int:
    """The shard of an instance, 0 to 255: the first column of every primary key.

    It is part of what is stored and never changes: CRC-32 of the three parts, NUL between them, modulo 256.
    """
    return zlib.crc32("\0".join(key).encode()) % SHARDS
