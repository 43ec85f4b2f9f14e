"""The generated stubs on one connection."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health_pb2_grpc

from durachart_client.calls import Connection
from durachart_client.gen import (
    effect_service_pb2_grpc,
    machine_service_pb2_grpc,
    state_machine_service_pb2_grpc,
    token_service_pb2_grpc,
)

# They are generated without types; what goes in and comes out is typed by the methods of Client.
_INSTANCES: Any = state_machine_service_pb2_grpc.StateMachineServiceStub
_MACHINES: Any = machine_service_pb2_grpc.MachineServiceStub
_TOKENS: Any = token_service_pb2_grpc.TokenServiceStub
_EFFECTS: Any = effect_service_pb2_grpc.EffectServiceStub
_HEALTH: Any = health_pb2_grpc.HealthStub


class Stubs:
    """One stub for each service.

    Attributes:
        connection: What they call on.
        instances: Of StateMachineService.
        machines: Of MachineService.
        tokens: Of TokenService.
        effects: Of EffectService.
        health: Of grpc.health.v1.Health.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.instances = _INSTANCES(connection.channel)
        self.machines = _MACHINES(connection.channel)
        self.tokens = _TOKENS(connection.channel)
        self.effects = _EFFECTS(connection.channel)
        self.health = _HEALTH(connection.channel)
