"""The canvas machine (A18 to A21, A23): every state, transition, guard and refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.machines.play import Play, definition

Start = Callable[[], Play]
OUTPUT = {
    "text": "Statecharts are diagrams.",
    "finish_reason": "stop",
    "model": "local",
    "usage": {"input_tokens": 12, "output_tokens": 4},
}
FAILURE = {"reason": "PROVIDER_RATE_LIMITED", "message": "The model is busy; try again later."}


def idle(**given: Any) -> Play:
    return Play("canvas", given)


def editing() -> Play:
    return idle().accept("EDIT")


def generating() -> Play:
    return idle(evals=["Short.", "In English."], model="m-1").accept("SUBMIT", prompt="Explain.")


def answered() -> Play:
    return generating().accept("GENERATION_DONE", effect_id="e-1", output=OUTPUT)


def test_canvas_is_published_without_a_warning() -> None:
    assert definition("canvas").warnings == ()


def test_generation_is_an_effect_that_ends_with_its_state() -> None:
    spec = definition("canvas").effects["generate"]
    assert (spec.handler, spec.cancel_on_exit) == ("llm.generate", True)
    assert (spec.done, spec.failed, spec.rejected, spec.stopped) == (
        "GENERATION_DONE",
        "GENERATION_FAILED",
        "GENERATION_FAILED",
        "GENERATION_STOPPED",
    )


def test_canvas_starts_in_view_mode_with_what_it_was_given() -> None:
    assert idle().context == {
        "prompt": "",
        "evals": [],
        "model": "",
        "response": None,
        "generation": None,
        "error": None,
    }
    canvas = idle(prompt="P", evals=["E"], model="local")
    assert (canvas.value, canvas.tags) == ("idle", ["view"])
    assert [canvas.context[key] for key in ("prompt", "evals", "model")] == ["P", ["E"], "local"]


def test_prompt_and_evals_become_one_request_with_the_selected_model() -> None:
    [(action, params)] = generating().effects
    assert action == "generate"
    assert params["model"] == "m-1"
    assert params["messages"] == [
        {"role": "user", "content": "Explain."},
        {"role": "user", "content": "Evaluation: Short."},
        {"role": "user", "content": "Evaluation: In English."},
    ]
    assert "every evaluation" in params["system"]


def test_request_without_evals_holds_the_prompt_alone() -> None:
    [(_, params)] = idle().accept("SUBMIT", prompt="Explain.").effects
    assert params == {
        "model": "",
        "system": "Answer the prompt.",
        "messages": [{"role": "user", "content": "Explain."}],
    }


def test_submit_persists_the_prompt_and_returns_to_view_mode() -> None:
    canvas = editing().accept("SUBMIT", prompt="Explain.")
    assert canvas.value == "generating"
    assert canvas.context["prompt"] == "Explain."
    assert canvas.tags == ["busy", "view"]


@pytest.mark.parametrize("start", [idle, editing])
@pytest.mark.parametrize("prompt", ["", "  \n\t "])
def test_prompt_without_text_is_refused(start: Start, prompt: str) -> None:
    canvas = start()
    assert canvas.send("SUBMIT", prompt=prompt) == "GUARD_REJECTED"
    assert canvas.version == start().version


def test_complete_text_becomes_the_response() -> None:
    canvas = answered()
    assert canvas.value == "idle"
    assert canvas.context["response"] == "Statecharts are diagrams."
    assert canvas.context["generation"] == {
        "model": "local",
        "finish_reason": "stop",
        "usage": {"input_tokens": 12, "output_tokens": 4},
    }


def test_usage_that_the_provider_did_not_count_stays_unknown() -> None:
    canvas = generating().accept("GENERATION_DONE", effect_id="e-1", output={**OUTPUT, "usage": None})
    assert canvas.context["generation"]["usage"] is None


def test_stop_shows_the_stored_state_again() -> None:
    before = answered()
    stored = before.context
    canvas = before.accept("SUBMIT", prompt="Shorter.").accept("GENERATION_STOPPED", effect_id="e-2")
    assert canvas.value == "idle"
    assert canvas.context == {**stored, "prompt": "Shorter."}


def test_failure_is_shown_and_keeps_the_response() -> None:
    canvas = answered().accept("SUBMIT", prompt="Shorter.")
    canvas.accept("GENERATION_FAILED", effect_id="e-2", error=FAILURE)
    assert canvas.value == "idle"
    assert canvas.context["response"] == "Statecharts are diagrams."
    assert canvas.context["error"] == FAILURE


@pytest.mark.parametrize("mode", ["idle", "editing"])
def test_error_is_dismissed_once(mode: str) -> None:
    canvas = generating().accept("GENERATION_FAILED", effect_id="e-1", error=FAILURE)
    if mode == "editing":
        canvas.accept("EDIT")
    canvas.accept("DISMISS_ERROR")
    assert canvas.value == mode
    assert canvas.context["error"] is None
    assert "DISMISS_ERROR" not in canvas.allowed
    assert canvas.send("DISMISS_ERROR") == "GUARD_REJECTED"


def test_next_prompt_clears_the_error() -> None:
    canvas = generating().accept("GENERATION_FAILED", effect_id="e-1", error=FAILURE)
    assert canvas.accept("SUBMIT", prompt="Again.").context["error"] is None


def test_edit_mode_is_left_with_or_without_saving() -> None:
    assert (editing().value, editing().tags) == ("editing", ["edit"])
    saved = editing().accept("SAVE", prompt="Draft.")
    assert (saved.value, saved.context["prompt"], saved.effects) == ("idle", "Draft.", [])
    cancelled = saved.accept("EDIT").accept("CANCEL_EDIT")
    assert (cancelled.value, cancelled.context["prompt"]) == ("idle", "Draft.")


@pytest.mark.parametrize("start", [idle, editing])
def test_evals_and_model_are_set_without_leaving_the_mode(start: Start) -> None:
    canvas = start().accept("SET_EVALS", evals=["Short."]).accept("SELECT_MODEL", model="local")
    assert canvas.value == start().value
    assert (canvas.context["evals"], canvas.context["model"]) == (["Short."], "local")


def test_nothing_can_be_edited_while_generating() -> None:
    canvas = generating()
    assert canvas.allowed == ["GENERATION_DONE", "GENERATION_FAILED", "GENERATION_STOPPED"]
    for event_type, data in {
        "EDIT": {},
        "SAVE": {"prompt": "x"},
        "CANCEL_EDIT": {},
        "SUBMIT": {"prompt": "x"},
        "SET_EVALS": {"evals": []},
        "SELECT_MODEL": {"model": "x"},
        "DISMISS_ERROR": {},
    }.items():
        assert canvas.send(event_type, **data) == "EVENT_NOT_ALLOWED"


def test_late_end_of_a_generation_changes_nothing() -> None:
    canvas = answered()
    assert canvas.send("GENERATION_DONE", effect_id="e-1", output=OUTPUT) == "EVENT_NOT_ALLOWED"
    assert canvas.send("GENERATION_STOPPED", effect_id="e-1") == "EVENT_NOT_ALLOWED"
    assert canvas.send("GENERATION_FAILED", effect_id="e-1", error=FAILURE) == "EVENT_NOT_ALLOWED"


def test_allowed_events_follow_the_mode() -> None:
    assert idle().allowed == ["EDIT", "SELECT_MODEL", "SET_EVALS", "SUBMIT"]
    assert editing().allowed == ["CANCEL_EDIT", "SAVE", "SELECT_MODEL", "SET_EVALS", "SUBMIT"]


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("SUBMIT", {}),
        ("SUBMIT", {"prompt": 1}),
        ("SET_EVALS", {"evals": "Short."}),
        ("SET_EVALS", {"evals": [""]}),
        ("SELECT_MODEL", {}),
        ("GENERATION_DONE", {"effect_id": "e-1", "output": {"text": "half"}}),
        ("GENERATION_FAILED", {"effect_id": "e-1"}),
    ],
)
def test_wrong_payload_is_refused_before_the_machine_sees_it(event_type: str, data: dict[str, Any]) -> None:
    assert generating().send(event_type, **data) == "PAYLOAD_INVALID"
