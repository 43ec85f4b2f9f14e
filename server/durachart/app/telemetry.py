"""OpenTelemetry's set-up: off unless an OTLP endpoint is given, and then spans go there over gRPC.

Nothing is made global: whoever makes spans is handed the provider. When it is off the provider makes spans
that do nothing, and the RPC core does not even ask for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from durachart import __version__
from durachart.rpc.tracing import RpcTracing

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where spans go.

    Attributes:
        endpoint: OTLP receiver over gRPC, ``http://HOST:PORT`` or ``https://HOST:PORT``; without a scheme it
            is ``http``. Empty: off.
        service_name: How this process is called there. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go
            before it.
        flush_timeout_s: Seconds that shutting down waits for the last spans to be taken.
    """

    endpoint: str = ""
    service_name: str = "durachart"
    flush_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What the rooms are given.

    Attributes:
        provider: Makes tracers.
        rpc: For the RPC core; None when telemetry is off.
    """

    provider: TracerProvider
    rpc: RpcTracing | None


def endpoint_of(option: str, environment: Mapping[str, str] = os.environ) -> str:
    """The endpoint to use: the option's, or else what OpenTelemetry's own variables say; empty: off.

    Raises:
        ValueError: It is not an address; the text says what is expected.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return ""
    endpoint = (
        option
        or environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
        or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    )
    if not endpoint:
        return ""
    if "://" not in endpoint:
        endpoint = f"http://{endpoint}"
    parts = urlsplit(endpoint)
    try:
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(
            f"{endpoint!r} is not an OTLP endpoint: write http://HOST:PORT, for example http://127.0.0.1:4317"
        )
    return endpoint


@asynccontextmanager
async def telemetry(settings: TelemetrySettings) -> AsyncIterator[Telemetry]:
    """Tracing for as long as the context lasts; leaving it sends what is left, within bounds."""
    if not settings.endpoint:
        yield Telemetry(NoOpTracerProvider(), None)
        return
    # Imported here: a server without telemetry starts faster without the exporter.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": settings.service_name}
    resource = Resource.create({**named, "service.version": __version__})
    provider = SdkTracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(
        endpoint=settings.endpoint,
        insecure=settings.endpoint.startswith("http://"),
        timeout=settings.flush_timeout_s,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Telemetry(provider, RpcTracing(provider))
    finally:
        await _shut_down(provider.shutdown, settings.flush_timeout_s)


async def _shut_down(shutdown: Callable[[], None], timeout_s: float) -> None:
    """Run a blocking shutdown in a daemon thread: a receiver that does not answer cannot hold us up."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            shutdown()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop may have ended by then
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="telemetry-shutdown", daemon=True).start()
    try:
        async with asyncio.timeout(timeout_s):
            await done.wait()
    except TimeoutError:
        _log.warning("spans were not taken in time timeout_s=%s", timeout_s)
