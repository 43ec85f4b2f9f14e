"""``serve``: the server, until it is asked to end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from durachart.app.settings import Settings
    from durachart.workers.providers.settings import ProviderSettings

_NET, _DATA, _LIMITS, _LOG = "Network", "Data", "Limits", "Logs and traces"
_LLM, _EFFECTS = "Language models", "Effects"

_RETENTION = "Retention"


def serve(
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="HOST:PORT", envvar="DURACHART_LISTEN", help="gRPC.", rich_help_panel=_NET
        ),
    ] = "127.0.0.1:7575",
    http: Annotated[
        str,
        typer.Option(
            "--http",
            metavar="HOST:PORT",
            envvar="DURACHART_HTTP",
            help="gRPC-Web and Connect; `off` turns it off.",
            rich_help_panel=_NET,
        ),
    ] = "127.0.0.1:7576",
    advertise: Annotated[
        str,
        typer.Option(
            "--advertise",
            metavar="HOST:PORT",
            envvar="DURACHART_ADVERTISE",
            help="Where other servers on the same database call this one; by default as --listen says.",
            rich_help_panel=_NET,
            show_default=False,
        ),
    ] = "",
    grpc_server: Annotated[
        Literal["own", "grpcio"],
        typer.Option(
            "--grpc-server",
            envvar="DURACHART_GRPC_SERVER",
            help="What speaks HTTP/2 for gRPC: Durachart's own server, or grpcio, several times slower.",
            rich_help_panel=_NET,
        ),
    ] = "own",
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors-origin",
            metavar="ORIGIN",
            envvar="DURACHART_CORS_ORIGINS",
            help="A web page's origin that may call, or *; repeatable.",
            rich_help_panel=_NET,
            show_default=False,
        ),
    ] = None,
    drain_ms: Annotated[
        int,
        typer.Option(
            "--drain-ms",
            metavar="MS",
            min=0,
            envvar="DURACHART_DRAIN_MS",
            help="Time for calls under way when asked to end.",
            rich_help_panel=_NET,
        ),
    ] = 10_000,
    stream_window: Annotated[
        int,
        typer.Option(
            "--stream-window",
            metavar="N",
            min=1,
            envvar="DURACHART_STREAM_WINDOW",
            help="Events of one StreamEvents that may be unanswered before no more are taken from it.",
            rich_help_panel=_NET,
        ),
    ] = 256,
    watch_age: Annotated[
        str,
        typer.Option(
            "--watch-age",
            metavar="TIME",
            envvar="DURACHART_WATCH_AGE",
            help="Close watches with a token when they are about this old.",
            rich_help_panel=_NET,
        ),
    ] = "30m",
    stalled_ms: Annotated[
        int,
        typer.Option(
            "--stalled-ms",
            metavar="MS",
            min=1,
            envvar="DURACHART_STALLED_MS",
            help="End a stream whose reader takes nothing for so long.",
            rich_help_panel=_NET,
        ),
    ] = 60_000,
    data_dir: Annotated[
        Path,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            envvar="DURACHART_DATA_DIR",
            help="Holds the database; made when missing.",
            rich_help_panel=_DATA,
        ),
    ] = Path("data"),
    db: Annotated[
        str,
        typer.Option(
            "--db",
            metavar="URL",
            envvar="DURACHART_DB",
            help="sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE; durachart.db in the data directory"
            " by default.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = "",
    nats: Annotated[
        str,
        typer.Option(
            "--nats",
            metavar="URL",
            envvar="DURACHART_NATS",
            help="NATS as doorbell and token relay between servers on one PostgreSQL: nats://HOST:4222.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = "",
    machines: Annotated[
        Path | None,
        typer.Option(
            "--machines",
            metavar="DIR",
            envvar="DURACHART_MACHINES",
            help="Publish DIR/*/machine.{yaml,yml,json} at the start; ./machines by default, if it is there.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None,
    plugins: Annotated[
        list[str] | None,
        typer.Option(
            "--plugins",
            metavar="MODULE",
            envvar="DURACHART_PLUGINS",
            help="Python module with trusted guards, actions, delays or effect handlers; repeatable.",
            rich_help_panel=_DATA,
            show_default=False,
        ),
    ] = None,
    llm_model: Annotated[
        str,
        typer.Option(
            "--llm-model",
            metavar="NAME",
            envvar="DURACHART_LLM_MODEL",
            help="Where a request names none: local, openai/NAME or anthropic/NAME.",
            rich_help_panel=_LLM,
        ),
    ] = "local",
    llm_token_delay_ms: Annotated[
        float,
        typer.Option(
            "--llm-token-delay-ms",
            metavar="MS",
            min=0,
            envvar="DURACHART_LLM_TOKEN_DELAY_MS",
            help="Pause of the built-in model before each word.",
            rich_help_panel=_LLM,
        ),
    ] = 25.0,
    openai_base_url: Annotated[
        str | None,
        typer.Option(
            "--openai-base-url",
            metavar="URL",
            envvar="DURACHART_OPENAI_BASE_URL",
            help="Any OpenAI-compatible endpoint, with its /v1. Its key: DURACHART_OPENAI_API_KEY.",
            rich_help_panel=_LLM,
            show_default=False,
        ),
    ] = None,
    anthropic_base_url: Annotated[
        str | None,
        typer.Option(
            "--anthropic-base-url",
            metavar="URL",
            envvar="DURACHART_ANTHROPIC_BASE_URL",
            help="Anthropic's endpoint. Its key: DURACHART_ANTHROPIC_API_KEY.",
            rich_help_panel=_LLM,
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        list[str] | None,
        typer.Option(
            "--concurrency",
            metavar="HANDLER=N",
            envvar="DURACHART_CONCURRENCY",
            help="Most effects of a handler that this server runs at a time; 0 leaves them to other workers; "
            "repeatable.",
            rich_help_panel=_EFFECTS,
            show_default=False,
        ),
    ] = None,
    http_allow: Annotated[
        list[str] | None,
        typer.Option(
            "--http-allow",
            metavar="HOST",
            envvar="DURACHART_HTTP_ALLOW",
            help="`http.request` may go there although it is not public: name, *.NAME, address or CIDR; "
            "repeatable.",
            rich_help_panel=_EFFECTS,
            show_default=False,
        ),
    ] = None,
    http_deny: Annotated[
        list[str] | None,
        typer.Option(
            "--http-deny",
            metavar="HOST",
            envvar="DURACHART_HTTP_DENY",
            help="`http.request` may not go there, whatever is allowed; repeatable.",
            rich_help_panel=_EFFECTS,
            show_default=False,
        ),
    ] = None,
    retain_finished: Annotated[
        str,
        typer.Option(
            "--retain-finished",
            metavar="TIME",
            envvar="DURACHART_RETAIN_FINISHED",
            help="Keep finished and deleted instances, and ended effects, for so long; `off`: for ever.",
            rich_help_panel=_RETENTION,
        ),
    ] = "7d",
    retain_requests: Annotated[
        str,
        typer.Option(
            "--retain-requests",
            metavar="TIME",
            envvar="DURACHART_RETAIN_REQUESTS",
            help="Keep request ids for so long; `off`: for ever.",
            rich_help_panel=_RETENTION,
        ),
    ] = "7d",
    retain_journal: Annotated[
        str,
        typer.Option(
            "--retain-journal",
            metavar="TIME",
            envvar="DURACHART_RETAIN_JOURNAL",
            help="Keep the journal of living instances for so long; `off`: all of it.",
            rich_help_panel=_RETENTION,
        ),
    ] = "off",
    cache_mib: Annotated[
        int,
        typer.Option(
            "--cache-mib",
            metavar="MIB",
            min=1,
            envvar="DURACHART_CACHE_MIB",
            help="What instances kept in memory may take, about.",
            rich_help_panel=_LIMITS,
        ),
    ] = 128,
    max_event_bytes: Annotated[
        int,
        typer.Option(
            "--max-event-bytes",
            metavar="BYTES",
            min=1,
            envvar="DURACHART_MAX_EVENT_BYTES",
            help="Of an event's data or an input.",
            rich_help_panel=_LIMITS,
        ),
    ] = 256 * 1024,
    max_context_bytes: Annotated[
        int,
        typer.Option(
            "--max-context-bytes",
            metavar="BYTES",
            min=1,
            envvar="DURACHART_MAX_CONTEXT_BYTES",
            help="Of a context.",
            rich_help_panel=_LIMITS,
        ),
    ] = 1024 * 1024,
    max_definition_bytes: Annotated[
        int,
        typer.Option(
            "--max-definition-bytes",
            metavar="BYTES",
            min=1,
            envvar="DURACHART_MAX_DEFINITION_BYTES",
            help="Of a definition.",
            rich_help_panel=_LIMITS,
        ),
    ] = 10 * 1024 * 1024,
    max_microsteps: Annotated[
        int,
        typer.Option(
            "--max-microsteps",
            metavar="N",
            min=1,
            envvar="DURACHART_MAX_MICROSTEPS",
            help="Of one event.",
            rich_help_panel=_LIMITS,
        ),
    ] = 1_000,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option(
            "--log-level",
            envvar="DURACHART_LOG_LEVEL",
            help="Least important messages.",
            rich_help_panel=_LOG,
        ),
    ] = "info",
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(
            "--log-format", envvar="DURACHART_LOG_FORMAT", help="One message a line.", rich_help_panel=_LOG
        ),
    ] = "text",
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(
            "--otlp-endpoint",
            metavar="URL",
            envvar="DURACHART_OTLP_ENDPOINT",
            help="Send traces there over OTLP/gRPC.",
            rich_help_panel=_LOG,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the server until Ctrl-C or SIGTERM, then finish what was begun and exit with 0.

    A second Ctrl-C ends at once. Keys of language models are taken from the environment only, where other
    users of the machine cannot read them.
    """
    from durachart.app import settings as parse
    from durachart.app.cli.exits import ExitCode, Failure

    try:
        target = parse.postgres(db)
        chosen = parse.Settings(
            listen=parse.address(listen, "--listen"),
            grpc_server=grpc_server,
            advertise=parse.advertised(advertise),
            http=None if http == parse.OFF else parse.address(http, "--http"),
            data_dir=data_dir,
            database=None if target is not None else parse.database(db),
            postgres=target,
            nats_url=parse.nats(nats, target),
            machines=parse.machines_directory(machines),
            plugins=tuple(plugins or ()),
            cors_origins=parse.origins(cors_origin or []),
            otlp_endpoint=parse.trace_endpoint(otlp_endpoint),
            providers=_providers(llm_model, llm_token_delay_ms, openai_base_url, anthropic_base_url),
            http_targets=parse.http_targets(http_allow or [], http_deny or []),
            concurrency=parse.concurrency(concurrency or []),
            cache_mib=cache_mib,
            limits=parse.Limits(max_event_bytes, max_context_bytes, max_definition_bytes, max_microsteps),
            retention=parse.retention(retain_finished, retain_requests, retain_journal),
            drain_ms=drain_ms,
            stream_window=stream_window,
            watch_age=parse.watch_age(watch_age),
            stalled_ms=stalled_ms,
            log_level=log_level,
            log_format=log_format,
        )
    except parse.SettingInvalid as error:
        raise Failure(ExitCode.USAGE, str(error)) from error
    _run(chosen)


def _providers(
    model: str, delay_ms: float, openai_url: str | None, anthropic_url: str | None
) -> ProviderSettings:
    import os

    from durachart.app.settings import endpoint
    from durachart.workers.providers.settings import ProviderSettings

    return ProviderSettings(
        default_model=model,
        local_token_delay_ms=delay_ms,
        openai_base_url=endpoint(openai_url, "--openai-base-url"),
        openai_api_key=os.environ.get("DURACHART_OPENAI_API_KEY") or None,
        anthropic_base_url=endpoint(anthropic_url, "--anthropic-base-url"),
        anthropic_api_key=os.environ.get("DURACHART_ANTHROPIC_API_KEY") or None,
    )


def _run(settings: Settings) -> None:
    """Serve until a signal; failures to start become a sentence and an exit code."""
    import os

    import uvloop

    from durachart import crash_points
    from durachart.app.cli.exits import ExitCode, Failure
    from durachart.app.foreground import serve_until_signalled
    from durachart.app.logs import set_up_logs
    from durachart.app.machines import MachineNotPublished
    from durachart.app.server import CannotStart

    set_up_logs(settings.log_level, settings.log_format)
    try:
        crash_points.arm(os.environ.get(crash_points.VARIABLE, ""))
        uvloop.run(serve_until_signalled(settings))
    except crash_points.CrashPointUnknown as error:
        raise Failure(ExitCode.USAGE, str(error)) from error
    except MachineNotPublished as error:
        raise Failure(ExitCode.INVALID, str(error), reason="DEFINITION_INVALID") from error
    except CannotStart as error:
        raise Failure(ExitCode.UNEXPECTED, str(error)) from error
