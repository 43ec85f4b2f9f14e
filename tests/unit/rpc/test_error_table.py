"""Every domain error has its row, one reason, and a page that says what to do."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo

import durachart
from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.findings import Finding
from durachart.rpc.errors import Violation, error_of, invalid_request, row_of
from durachart.rpc.gen import errors_pb2 as details
from durachart.rpc.status import MAX_DETAILS_BYTES, MAX_MESSAGE_BYTES, Code, RpcError
from durachart.runtime import errors as runtime
from durachart.store.keys import InstanceKey
from tests.rpc.samples import KEY, REASONS, sample

# Roots of errors that no caller is shown, and what becomes of them.
NOT_FOR_CALLERS = {
    "durachart.engine.errors.EngineError": "the judge refuses the command instead, EVALUATION_FAILED",
    "durachart.expressions.errors.EvaluationError": "the engine reports it as its own",
    "durachart.expressions.errors.CompileError": "becomes a finding of the definition",
    "durachart.plugins.errors.PluginsUnusable": "the server does not start",
    "durachart.plugins.errors.PluginFailed": "the engine reports it as its own",
    "durachart.workers.errors.EffectFailure": "becomes an event of the instance, or another attempt",
}
# Never raised themselves; what derives from them is.
ABSTRACT = {
    "durachart.definitions.errors.DefinitionError",
    "durachart.plugins.errors.PluginError",
    "durachart.runtime.errors.DurachartError",
    "durachart.runtime.errors.NotFound",
    "durachart.runtime.errors.Refusal",
}


def error_classes() -> list[type[Exception]]:
    """Every exception that a module called ``errors`` of this package defines, but those of this layer."""
    found = []
    for module in pkgutil.walk_packages(durachart.__path__, "durachart."):
        if not module.name.endswith(".errors") or module.name == "durachart.rpc.errors":
            continue
        values = vars(importlib.import_module(module.name)).values()
        classes = [value for value in values if isinstance(value, type) and issubclass(value, Exception)]
        found += [value for value in classes if value.__module__ == module.name]
    return found


def full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def kept_from_callers(kind: type) -> bool:
    return any(full_name(ancestor) in NOT_FOR_CALLERS for ancestor in kind.__mro__)


@pytest.mark.parametrize("kind", error_classes(), ids=full_name)
def test_every_domain_error_is_mapped_or_kept_from_callers(kind: type[Exception]) -> None:
    assert row_of(kind) is not None or kept_from_callers(kind) or full_name(kind) in ABSTRACT


def test_every_error_of_the_runtime_is_tried_out_by_these_tests() -> None:
    tried = {type(sample(reason)) for reason in REASONS} | {runtime.StoreUnavailable}
    leaves = {kind for kind in error_classes() if issubclass(kind, runtime.DurachartError)}
    leaves = {kind for kind in leaves if not any(kind in other.__bases__ for other in leaves)}
    assert leaves <= tried


@pytest.mark.parametrize("reason", REASONS)
def test_an_error_goes_out_with_one_error_info_and_fits_a_header(reason: str) -> None:
    error = error_of(sample(reason), "test")
    (info,) = [detail for detail in error.details if isinstance(detail, ErrorInfo)]
    assert (info.reason, info.domain) == (reason, "durachart.dev")
    assert error.reason == reason
    assert error.message
    assert error.code is not Code.OK
    assert error.status().ByteSize() < MAX_DETAILS_BYTES + MAX_MESSAGE_BYTES + 512


def test_a_subclass_that_the_table_does_not_know_gets_its_parents_row() -> None:
    class InstanceFrozen(runtime.EventRefused):
        reason = "INSTANCE_FROZEN"

    error = error_of(InstanceFrozen(KEY, "frozen", event_type="A", value_json='"x"', version=1), "test")
    assert (error.code, error.reason) == (Code.FAILED_PRECONDITION, "INSTANCE_FROZEN")


def test_what_nobody_foresaw_is_logged_under_an_id_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    error = error_of(ValueError("password is hunter2"), "durachart.v1.X/Y")
    (record,) = caplog.records
    assert error.code is Code.INTERNAL
    assert "hunter2" not in str(error.status())
    (info,) = error.details
    assert isinstance(info, ErrorInfo)
    assert info.metadata["error_id"] in record.getMessage()
    assert "durachart.v1.X/Y" in record.getMessage()
    assert record.exc_info is not None


def test_what_a_database_says_is_for_its_keeper_only() -> None:
    assert "file" not in error_of(sample("STORE_UNAVAILABLE"), "test").message


def test_a_store_that_fails_has_one_reason_whoever_noticed() -> None:
    noticed = error_of(runtime.StoreUnavailable("the database is locked; try again"), "test")
    assert (noticed.code, noticed.reason) == (Code.UNAVAILABLE, "STORE_UNAVAILABLE")


def test_an_rpc_error_goes_out_as_it_is() -> None:
    error = RpcError(Code.NOT_FOUND, "X", "y")
    assert error_of(error, "test") is error


def test_a_replayed_refusal_says_so() -> None:
    refused = runtime.InstanceExists(KEY)
    refused.replayed = True
    (info, resource) = error_of(refused, "test").details
    assert isinstance(info, ErrorInfo)
    assert info.metadata["replayed"] == "true"
    assert isinstance(resource, ResourceInfo)


def test_a_refusal_of_a_large_machine_still_fits_a_header() -> None:
    refused = runtime.EventNotAllowed(
        InstanceKey("n" * 128, "m" * 128, "i" * 256),
        "é" * 5000,
        event_type="E" * 256,
        value_json='"' + "x" * 100_000 + '"',
        version=2**60,
        allowed_events=[f"EVENT_{number:04}" for number in range(5000)],
    )
    error = error_of(refused, "test")
    assert len(error.message.encode()) <= MAX_MESSAGE_BYTES
    assert sum(detail.ByteSize() for detail in error.details) <= MAX_DETAILS_BYTES
    (refusal,) = [detail for detail in error.details if isinstance(detail, details.EventRefusal)]
    assert refusal.value_json == ""
    assert refusal.allowed_events[0] == "EVENT_0000"
    assert len(refusal.allowed_events) > 50


def test_a_definition_with_very_many_problems_names_the_first_and_counts_the_rest() -> None:
    findings = [
        Finding("target_not_found", f"/machine/states/s{n}", "there is no such state", "try another")
        for n in range(3000)
    ]
    error = error_of(DefinitionInvalid(findings), "test")
    assert error.message.startswith(
        "the definition has 3000 problems: at /machine/states/s0: there is no such state (try another)"
    )
    assert error.message.endswith("ValidateMachine lists the other 2995")
    (problems,) = [detail for detail in error.details if isinstance(detail, details.DefinitionProblems)]
    assert problems.findings[0].path == "/machine/states/s0"
    (bad,) = [detail for detail in error.details if isinstance(detail, BadRequest)]
    assert bad.field_violations[0].field == "definition_json#/machine/states/s0"


def test_a_definition_with_one_problem_is_said_in_the_singular() -> None:
    error = error_of(DefinitionInvalid([Finding("json_invalid", "", "it is not JSON")]), "test")
    assert error.message == "the definition has 1 problem: at the top: it is not JSON"


def test_the_message_for_many_violations_names_the_first() -> None:
    error = invalid_request([Violation("a", "is required"), Violation("b", "is too long")])
    assert error.message == "the request is not valid: a is required (and 1 more)"


# --- pages --------------------------------------------------------------------------------------------------


def reasons_in_code() -> set[str]:
    """The reasons of errors that the RPC layer and the fronts make themselves."""
    package = Path(durachart.__path__[0])
    found = set()
    for path in [*(package / "rpc").glob("*.py"), *(package / "fronts").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "RpcError"
                and len(node.args) > 1
            ):
                reason = node.args[1]
                if isinstance(reason, ast.Constant):
                    found.add(str(reason.value))
    return found


def every_reason() -> set[str]:
    return {*REASONS, *reasons_in_code()}


@pytest.mark.parametrize("reason", sorted(every_reason()))
def test_every_reason_has_a_page_that_says_what_to_do(reason: str, repository: Path) -> None:
    page = (repository / "docs" / "errors" / f"{reason}.md").read_text()
    assert page.startswith(f"# {reason}\n\nStatus `")
    code = page.partition("Status `")[2].partition("`")[0]
    for title in ("What happened", "Why", "What to do"):
        section = page.partition(f"\n## {title}\n\n")[2].partition("\n## ")[0]
        assert len(section.split()) > 5, title
    if reason in REASONS:
        assert error_of(sample(reason), "test").code.name == code
    index = (repository / "docs" / "errors" / "README.md").read_text()
    assert f"[{reason}]({reason}.md) | `{code}` |" in index


_EFFECT_REASON = re.compile(r"[A-Z]{3,}(_[A-Z]{2,})+|DELETED|INTERRUPTED|STOPPED")
_ENDS_EFFECTS = (
    *(
        "workers",
        "app/plugin_effects.py",
        "runtime/effects/outbox.py",
        "runtime/judge/effect_judge.py",
        "runtime/judge/deletion.py",
    ),
)


def effect_reasons() -> set[str]:
    """The reasons that Durachart gives for the end of an effect.

    They are the constants of modules and handlers, and what stands beside a ``"reason"``.
    """
    package = Path(durachart.__path__[0])
    found: set[str] = set()
    for place in _ENDS_EFFECTS:
        path = package / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Assign | ast.AnnAssign):
                    values = [node.value]
                elif isinstance(node, ast.Dict):
                    values = [
                        value
                        for key, value in zip(node.keys, node.values, strict=True)
                        if isinstance(key, ast.Constant) and key.value == "reason"
                    ]
                else:
                    continue
                texts = [value.value for value in values if isinstance(value, ast.Constant)]
                found |= {text for text in texts if isinstance(text, str) and _EFFECT_REASON.fullmatch(text)}
    return found


def test_the_reasons_of_effects_are_found() -> None:
    known = {"ATTEMPTS_EXHAUSTED", "EFFECT_TIMEOUT", "INTERRUPTED", "PARAMS_INVALID", "PROVIDER_REJECTED"}
    assert known <= effect_reasons()


@pytest.mark.parametrize("reason", sorted(effect_reasons()))
def test_every_reason_of_an_effect_has_a_page_that_says_what_to_do(reason: str, repository: Path) -> None:
    page = (repository / "docs" / "errors" / f"{reason}.md").read_text()
    assert page.startswith(f"# {reason}\n\nWhy an effect ended. Comes from ")
    again = page.partition("Another attempt: ")[2].partition(".\n")[0]
    for title in ("What happened", "Why", "What to do"):
        assert len(page.partition(f"\n## {title}\n\n")[2].partition("\n## ")[0].split()) > 5, title
    index = (repository / "docs" / "errors" / "README.md").read_text()
    (row,) = [line for line in index.splitlines() if line.startswith(f"| [{reason}]({reason}.md) |")]
    assert f" | {again} | " in row


def test_no_page_is_about_a_reason_that_is_never_given(repository: Path) -> None:
    pages = {path.stem for path in (repository / "docs" / "errors").glob("*.md")} - {"README"}
    assert pages == every_reason() | effect_reasons()


def test_the_index_lists_no_page_that_is_not_there(repository: Path) -> None:
    index = (repository / "docs" / "errors" / "README.md").read_text()
    listed = {
        line.partition("](")[2].partition(")")[0] for line in index.splitlines() if line.startswith("| [")
    }
    assert listed <= {path.name for path in (repository / "docs" / "errors").iterdir()}
    assert len(listed) >= len(every_reason())
