"""The whole service from its handlers: the contract's services, health and reflection in one method table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.descriptor import ServiceDescriptor

from durachart.rpc.health import HEALTH, Health
from durachart.rpc.reflection import Reflection
from durachart.rpc.service import (
    DEFAULT_IDENTIFY_EVERY_S,
    DEFAULT_MAX_REQUEST_BYTES,
    Identify,
    Method,
    Service,
    methods_of,
)
from durachart.rpc.tracing import RpcTracing


@dataclass(frozen=True, slots=True)
class Served:
    """One service of the contract and what serves it.

    Attributes:
        descriptor: As the contract declares it.
        handlers: One attribute per method, named in snake case.
        max_request_bytes: Bound of one serialised request of its methods.
    """

    descriptor: ServiceDescriptor
    handlers: object
    max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES


def assemble(
    services: Iterable[Served],
    *,
    identify: Identify | None = None,
    tracing: RpcTracing | None = None,
    identify_every_s: float = DEFAULT_IDENTIFY_EVERY_S,
) -> Service:
    """Bind every method of ``services``, add health and reflection, and make the `Service` that fronts call.

    Args:
        services: What to serve.
        identify: As in `Service`.
        tracing: As in `Service`.
        identify_every_s: As in `Service`.

    Raises:
        TypeError: A handler is missing.
    """
    services = tuple(services)
    names = [served.descriptor.full_name for served in services]
    methods: list[Method] = []
    for served in services:
        methods += methods_of(served.descriptor, served.handlers, max_request_bytes=served.max_request_bytes)
    methods += Health(names, lambda: service.draining).methods()
    methods += Reflection((*names, HEALTH.full_name)).methods()
    service = Service(methods, identify=identify, tracing=tracing, identify_every_s=identify_every_s)
    return service
