"""Everything in one context: store, runtime, workers, the service and its fronts.

    telemetry
    └── store ── runtime ── machines brought along
                 ├── process that checks large definitions
                 ├── token relay ◄── effects' ends, text from other nodes
                 ├── effect worker (llm.generate, http.request, log, those of plug-ins), timer worker,
                 │   retention
                 └── service ── gRPC front, HTTP front

Leaving goes the other way round: the fronts refuse new calls and end their streams with a token while calls
under way are finished; the workers give back what they had begun; the runtime commits what waits and closes
the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from durachart.app.checking import CheckingProcess
from durachart.app.machines import publish_directory
from durachart.app.plugin_effects import plugin_handlers
from durachart.app.settings import Settings
from durachart.app.telemetry import Telemetry, TelemetrySettings, telemetry
from durachart.fronts.address import Address, CannotListen, listen
from durachart.fronts.grpc_caller import GrpcCaller
from durachart.fronts.grpc_settings import GrpcSettings
from durachart.fronts.http_server import HttpSettings
from durachart.fronts.serving import serving
from durachart.plugins.collection import PluginCollection
from durachart.plugins.errors import PluginsUnusable
from durachart.plugins.loading import load_plugins
from durachart.rpc.assembly import Served, assemble
from durachart.rpc.effect_service import EFFECT_SERVICE, EffectHandlers
from durachart.rpc.machine_service import MACHINE_SERVICE, MachineHandlers
from durachart.rpc.relay import NodeRelay, RelaySigner
from durachart.rpc.relay_broker import BrokerPublisher, BrokerRelay
from durachart.rpc.service import DEFAULT_MAX_REQUEST_BYTES, Service
from durachart.rpc.state_machine_service import STATE_MACHINE_SERVICE, StateMachineHandlers
from durachart.rpc.token_service import TOKEN_SERVICE, TokenHandlers
from durachart.runtime.collector import seldom_collected
from durachart.runtime.generation.feeds import Feeds
from durachart.runtime.generation.mirror import OtherNodes
from durachart.runtime.generation.source import EffectGenerations
from durachart.runtime.generation.tokens import TokenRelay
from durachart.runtime.nodes import Nodes
from durachart.runtime.runtime import Runtime
from durachart.runtime.settings import RuntimeSettings
from durachart.runtime.turns import short_turns
from durachart.runtime.views import MachineRecord
from durachart.store.errors import StoreError
from durachart.store.interface import Store
from durachart.store.postgres.store import PostgresStore
from durachart.store.sqlite.store import SqliteStore
from durachart.workers.built_in import HANDLER_NAMES, built_in_handlers
from durachart.workers.effect_worker import EffectWorker, EffectWorkerSettings
from durachart.workers.errors import ProviderError
from durachart.workers.handlers import EffectHandler
from durachart.workers.http_handler import HttpHandler
from durachart.workers.providers.selection import Providers
from durachart.workers.retention_worker import RetentionWorker
from durachart.workers.timer_worker import TimerWorker

if TYPE_CHECKING:
    from durachart.broker.link import NatsLink

_log = logging.getLogger(__name__)

# What surrounds an event or a definition in its request: names, ids, and JSON inside of JSON.
_ENVELOPE_BYTES = 1024 * 1024
_SMALLEST_INSTANCE_BYTES = 2048
_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104 - is told from addresses that can be called


class CannotStart(Exception):
    """The server could not start; the text says what is in the way and what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that serves.

    Attributes:
        grpc: Where gRPC listens.
        http: Where gRPC-Web and Connect listen; None when they are off.
        database: What holds everything, for people.
        machines: What it brought along, at their current versions.
        runtime: Its runtime.
        service: Its service.
    """

    grpc: Address
    http: Address | None
    database: str
    machines: Sequence[MachineRecord]
    runtime: Runtime
    service: Service


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Server]:
    """A server for as long as the context lasts; leaving it drains.

    Raises:
        CannotStart: A port is taken, the database or a plug-in cannot be used, …
        MachineNotPublished: Machines it brings along are not valid.
    """
    async with AsyncExitStack() as stack:
        try:
            server = await _start(settings, stack)
        except (CannotListen, StoreError, PluginsUnusable) as error:
            raise CannotStart(str(error)) from error
        where = (server.grpc, server.http or "off", server.database)
        _log.info("serving grpc=%s http=%s database=%s", *where)
        yield server


async def _start(settings: Settings, stack: AsyncExitStack) -> Server:
    """Start everything on ``stack``, which ends it in reverse order, also when a later part cannot start."""
    plugins = load_plugins(settings.plugins)
    trusted = plugin_handlers(plugins, HANDLER_NAMES)
    if plugins.names:
        _log.info("plug-ins loaded names=%s", ",".join(plugins.names))
    _probe(settings)
    observed = await stack.enter_async_context(telemetry(TelemetrySettings(settings.otlp_endpoint)))
    if settings.database is None and settings.postgres is None:
        _make_directory(settings.data_dir)
    link = _link(settings)
    if link is not None:
        await stack.enter_async_context(link.running())
    store = _store(settings, link)
    runtime = _runtime(store, settings, observed, plugins, stack)
    await stack.enter_async_context(runtime.running())
    nodes = Nodes(store)
    signer = RelaySigner(await store.read_relay_secret())
    caller = GrpcCaller()
    stack.push_async_callback(caller.close)
    direct = None if store.exclusive else NodeRelay(nodes, caller, signer)
    others: OtherNodes | None = direct
    if link is not None and direct is not None:
        others = BrokerRelay(link, store.uid, direct, signer)
    tokens = TokenRelay(EffectGenerations(runtime), others=others)
    if link is not None:
        publisher = BrokerPublisher(link, store.uid, nodes.node_id, tokens, signer)
        stack.push_async_callback(_end, asyncio.create_task(publisher.run()))
    stack.callback(runtime.on_effect_end(tokens.effect_ended))
    runtime.relay_texts(tokens.watch)
    feeds = Feeds(tokens, runtime.outbox, nodes)
    stack.push_async_callback(feeds.close)
    stack.callback(runtime.on_effect_end(feeds.effect_ended))
    machines: Sequence[MachineRecord] = ()
    if settings.machines is not None:
        machines = await publish_directory(runtime, settings.machines)
    await _start_workers(settings, runtime, tokens, nodes, observed, trusted, stack)
    service = _service(settings, runtime, TokenHandlers(runtime, tokens, feeds, signer, direct), observed)
    stalled_s = settings.stalled_ms / 1000
    addresses = await stack.enter_async_context(
        serving(
            service,
            grpc=GrpcSettings(settings.listen, settings.grpc_server, stalled_s=stalled_s),
            http=None
            if settings.http is None
            else HttpSettings(settings.http, settings.cors_origins, stalled_s=stalled_s),
            drain_grace_s=settings.drain_ms / 1000,
        )
    )
    # Before the fronts wait for calls under way: some of them wait for effects.
    stack.callback(runtime.outbox.drain)
    assert addresses.grpc is not None
    if not store.exclusive:
        await _register(settings, nodes, addresses.grpc, stack)
    stack.enter_context(seldom_collected())
    stack.enter_context(short_turns())
    return Server(addresses.grpc, addresses.http, settings.database_shown, machines, runtime, service)


def _probe(settings: Settings) -> None:
    """Find a taken port before anything is stored; the fronts look again when they begin to listen."""
    for address, option in ((settings.listen, "--listen"), (settings.http, "--http")):
        if address is not None and address.port:
            listen(address, option).close()


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise CannotStart(f"cannot make {directory}: {why}; choose another with --data-dir") from error


def _link(settings: Settings) -> NatsLink | None:
    """The broker between nodes; imported only where there is one, for it is an extra."""
    if not settings.nats_url or settings.postgres is None:
        return None
    try:
        from durachart.broker.link import NatsLink
    except ModuleNotFoundError as error:
        raise CannotStart("--nats: install durachart[nats], which brings the client for it") from error
    return NatsLink(settings.nats_url)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _store(settings: Settings, link: NatsLink | None) -> Store:
    if settings.postgres is not None:
        bell = None
        if link is not None:
            from durachart.broker.bell import NatsBell

            bell = NatsBell(link)
        return PostgresStore(settings.postgres, bell=bell)
    return SqliteStore(settings.database_path)


async def _register(settings: Settings, nodes: Nodes, listening: Address, stack: AsyncExitStack) -> None:
    """Let the other servers on this database find this one, for text of generations that it has."""
    address = settings.advertise or listening
    if address.host in _EVERY_INTERFACE:
        _log.warning(
            "other servers cannot fetch text of generations from this one, which listens on every interface; "
            "say with --advertise where they can call it"
        )
        return
    await stack.enter_async_context(nodes.registered(str(address)))


def _runtime(
    store: Store, settings: Settings, observed: Telemetry, plugins: PluginCollection, stack: AsyncExitStack
) -> Runtime:
    limits = settings.limits
    bounds = RuntimeSettings(
        max_event_bytes=limits.event_bytes,
        max_context_bytes=limits.context_bytes,
        max_definition_bytes=limits.definition_bytes,
        max_microsteps=limits.microsteps,
        cached_bytes=settings.cache_mib * 2**20,
        # The bytes are what bounds it.
        cached_instances=settings.cache_mib * 2**20 // _SMALLEST_INSTANCE_BYTES,
        watch_age=settings.watch_age,
    )
    tracer = observed.provider.get_tracer("durachart.runtime") if observed.rpc is not None else None
    handlers = HANDLER_NAMES | plugins.effects.keys()
    checks = CheckingProcess(settings.plugins, handlers)
    stack.callback(checks.close)
    return Runtime(store, bounds, plugins=plugins, handlers=handlers, checks=checks, tracer=tracer)


async def _start_workers(
    settings: Settings,
    runtime: Runtime,
    tokens: TokenRelay,
    nodes: Nodes,
    observed: Telemetry,
    trusted: Sequence[EffectHandler],
    stack: AsyncExitStack,
) -> None:
    providers = Providers(settings.providers)
    stack.push_async_callback(providers.close)
    try:
        await providers.choose("")
    except ProviderError as error:
        # Prompts may still name a model that is there, so this is no reason not to start.
        _log.warning("prompts that name no model will fail: %s", error.message)
    http = HttpHandler(settings.http_targets)
    stack.push_async_callback(http.close)
    tracer = observed.provider.get_tracer("durachart.workers")
    handlers = (*built_in_handlers(providers, tokens, http, tracer), *trusted)
    served = {handler.name for handler in handlers}
    if unknown := sorted(settings.concurrency.keys() - served):
        raise CannotStart(
            f"--concurrency: this server runs no handler {unknown[0]!r}; it runs {', '.join(sorted(served))}"
        )
    bounds = EffectWorkerSettings(concurrency=settings.concurrency)
    await stack.enter_async_context(
        EffectWorker(runtime, handlers, tracer, bounds, holder=nodes.holder).running()
    )
    await stack.enter_async_context(TimerWorker(runtime.timers).running())
    await stack.enter_async_context(RetentionWorker(runtime, settings.retention).running())


def _service(settings: Settings, runtime: Runtime, tokens: TokenHandlers, observed: Telemetry) -> Service:
    limits = settings.limits
    event_bytes = max(DEFAULT_MAX_REQUEST_BYTES, 2 * limits.event_bytes + _ENVELOPE_BYTES)
    effect_bytes = max(DEFAULT_MAX_REQUEST_BYTES, 2 * limits.context_bytes + _ENVELOPE_BYTES)
    return assemble(
        [
            Served(
                STATE_MACHINE_SERVICE,
                StateMachineHandlers(runtime, stream_window=settings.stream_window),
                event_bytes,
            ),
            Served(MACHINE_SERVICE, MachineHandlers(runtime), limits.definition_bytes + _ENVELOPE_BYTES),
            Served(TOKEN_SERVICE, tokens),
            Served(EFFECT_SERVICE, EffectHandlers(runtime), effect_bytes),
        ],
        tracing=observed.rpc,
    )
