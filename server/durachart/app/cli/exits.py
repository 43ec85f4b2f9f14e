"""Exit codes, and the one place where a failure becomes a sentence and a code."""

from __future__ import annotations

import enum
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from durachart_client import ClientError


class ExitCode(enum.IntEnum):
    """What a program that calls ``durachart`` can tell from its exit code."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    REFUSED = 3
    CONFLICT = 4
    NOT_FOUND = 5
    INVALID = 6
    UNREACHABLE = 7
    GENERATION = 8
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.UNEXPECTED: "something unexpected failed",
    ExitCode.USAGE: "the command line is not right",
    ExitCode.REFUSED: "refused by the machine, or not allowed to you",
    ExitCode.CONFLICT: "another version, instance or request was there first",
    ExitCode.NOT_FOUND: "no such instance, machine or generation",
    ExitCode.INVALID: "the definition or the payload is not valid",
    ExitCode.UNREACHABLE: "no server answered in time, or it has too much to do",
    ExitCode.GENERATION: "the generation failed, or somebody else stopped it",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}


# The fields of requests that have another name here. Longer ones first: one may begin as another does.
_OUR_WORDS = {
    "instance.instance_id": "ID",
    "instance.machine_id": "MACHINE",
    "filter.machine_id": "MACHINE",
    "instance.namespace": "--namespace",
    "filter.namespace": "--namespace",
    "event.data_json": "DATA",
    "event.type": "EVENT",
    "create_if_missing": "--create",
    "expected_version": "--expected-version",
    "input_json": "--input",
    "request_id": "--request-id",
    "resume_token": "--resume",
    "machine_id": "MACHINE",
}
_CONTRACT_WORDS = re.compile(rf"(?<![\w./'\"-])(?:{'|'.join(map(re.escape, _OUR_WORDS))})(?![\w/-]|\.\w)")


class Failure(Exception):
    """A command ends here: one sentence on standard error and an exit code.

    Attributes:
        code: The exit code.
        sentence: What happened and what to do.
        reason: Stable word for programs; ``""`` when there is none.
        data: Further facts for ``--json``.
    """

    def __init__(
        self, code: ExitCode, sentence: str, *, reason: str = "", data: dict[str, object] | None = None
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.reason = reason
        self.data = data or {}


def of_client_error(error: ClientError, server: str) -> Failure:
    """What ``error`` means for whoever typed the command."""
    from durachart_client import errors

    reason = error.reason if isinstance(error, errors.ServerError) else ""
    data: dict[str, object] = {}
    match error:
        case errors.EventRefused():
            code = ExitCode.REFUSED
            data = {
                "value": error.value,
                "version": error.version,
                "allowed_events": list(error.allowed_events),
                "guards": list(error.guards),
            }
        case (
            errors.Forbidden()
            | errors.Unauthenticated()
            | errors.ImplementationMissing()
            | errors.EffectNotRetryable()
        ):
            code = ExitCode.REFUSED
        case errors.VersionConflict():
            code = ExitCode.CONFLICT
            data = {"expected_version": error.expected, "actual_version": error.actual}
        case errors.InstanceExists() | errors.RequestIdReused():
            code = ExitCode.CONFLICT
        case errors.NotFound():
            code = ExitCode.NOT_FOUND
        case errors.RequestInvalid():
            code = ExitCode.INVALID
            data = {
                "violations": [
                    {"field": one.field, "description": one.description} for one in error.violations
                ]
            }
        case errors.DefinitionInvalid() | errors.MessageTooLarge():
            code = ExitCode.INVALID
        case errors.Overloaded() | errors.ShuttingDown() | errors.StoreUnavailable():
            code = ExitCode.UNREACHABLE
        case errors.Unavailable():
            return Failure(ExitCode.UNREACHABLE, _nobody_at(server), reason="UNAVAILABLE")
        case errors.DeadlineExceeded():
            sentence = (
                f"the server at {server} did not answer in time: try again, or allow more with --timeout"
            )
            return Failure(ExitCode.UNREACHABLE, sentence, reason="DEADLINE_EXCEEDED")
        case _:
            code = ExitCode.UNEXPECTED
    return Failure(code, _in_our_words(error.message), reason=reason, data=data)


def _nobody_at(server: str) -> str:
    """What to say when nothing there speaks gRPC."""
    from durachart.fronts.address import GRPC_DEFAULT, HTTP_DEFAULT

    port = server.rpartition(":")[2]
    sentence = f"no server answers at {server}: start one with `durachart serve`, or name it with --server"
    if port == str(HTTP_DEFAULT.port):
        return f"{sentence}; {port} is HTTP's port by default, gRPC's is {GRPC_DEFAULT.port}"
    if port != str(GRPC_DEFAULT.port):
        return f"{sentence}; gRPC's port is {GRPC_DEFAULT.port} by default"
    return sentence


def _in_our_words(message: str) -> str:
    """A server's sentence with the command line's names for the fields of a request."""
    return _CONTRACT_WORDS.sub(lambda found: _OUR_WORDS[found[0]], message)


def report(failure: Failure, *, as_json: bool) -> None:
    """Say it on standard error; nothing happens when that cannot be written."""
    from durachart.app.cli.terminal import ERR

    if as_json:
        body = {
            "reason": failure.reason,
            "message": failure.sentence,
            "exit_code": int(failure.code),
            **failure.data,
        }
        ERR.line(json.dumps({"error": body}, ensure_ascii=False))
        return
    reason = f" ({failure.reason})" if failure.reason else ""
    ERR.line(f"{ERR.style('error:', 'red', 'bold')} {failure.sentence}{reason}")
