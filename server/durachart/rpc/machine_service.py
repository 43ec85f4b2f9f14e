"""durachart.v1.MachineService on the runtime."""

from __future__ import annotations

from durachart.rpc import convert
from durachart.rpc.context import CallContext
from durachart.rpc.gen import machine_service_pb2 as pb
from durachart.runtime.runtime import Runtime

MACHINE_SERVICE = pb.DESCRIPTOR.services_by_name["MachineService"]

# A definition of the default limit of 10 MiB, and what is around it.
MAX_REQUEST_BYTES = 11 * 1024 * 1024


class MachineHandlers:
    """Machines: publish, validate and read definitions.

    Args:
        runtime: What does it.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def publish_machine(
        self, request: pb.PublishMachineRequest, ctx: CallContext
    ) -> pb.PublishMachineResponse:
        """Check a definition and store it."""
        published = await self._runtime.publish(request.definition_json, convert.caller_of(ctx))
        return pb.PublishMachineResponse(
            machine=convert.machine(published.machine),
            created=published.created,
            warnings=convert.findings(published.warnings),
        )

    async def validate_machine(
        self, request: pb.ValidateMachineRequest, ctx: CallContext
    ) -> pb.ValidateMachineResponse:
        """Check a definition; problems are the answer."""
        found = await self._runtime.validate(request.definition_json)
        valid = not any(finding.severity == "error" for finding in found)
        return pb.ValidateMachineResponse(valid=valid, findings=convert.findings(found))

    async def get_machine(self, request: pb.GetMachineRequest, ctx: CallContext) -> pb.GetMachineResponse:
        """One version, with its definition."""
        record = await self._runtime.get_machine(request.machine_id, request.version)
        return pb.GetMachineResponse(machine=convert.machine(record))

    async def list_machines(
        self, request: pb.ListMachinesRequest, ctx: CallContext
    ) -> pb.ListMachinesResponse:
        """The latest version of each machine."""
        page = await self._runtime.list_machines(page_size=request.page_size, page_token=request.page_token)
        records = [convert.machine(record) for record in page.items]
        return pb.ListMachinesResponse(machines=records, next_page_token=page.next_page_token)
