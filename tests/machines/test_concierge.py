"""The concierge machine (C1 to C7): who answers, decided by context and by the recorded instant."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.machines.play import START, Play, definition


def at(**offset: float) -> str:
    return (START + timedelta(**offset)).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(
    name: str = "expo",
    *,
    begins: dict[str, float],
    ends: dict[str, float],
    participation: str = "registered",
    cancelled: bool = False,
    utc_offset: str = "+00:00",
) -> dict[str, Any]:
    return {
        "id": name,
        "name": name.title(),
        "starts_at": at(**begins),
        "ends_at": at(**ends),
        "utc_offset": utc_offset,
        "participation": participation,
        "cancelled": cancelled,
    }


LIVE = event("live", begins={"hours": -1}, ends={"hours": 1})
LATER_TODAY = event("later", begins={"hours": 3}, ends={"hours": 5})
TOMORROW = event("tomorrow", begins={"hours": 20}, ends={"hours": 23})
JUST_ENDED = event("ended", begins={"hours": -20}, ends={"hours": -18})
LONG_AGO = event("past", begins={"days": -3}, ends={"days": -2})


def concierge(*events: dict[str, Any], now: datetime = START) -> Play:
    given = {"contractor": {"id": "ada", "name": "Ada"}, "session": "s-1", "events": list(events)}
    return Play("concierge", given, now=now)


def asked(*events: dict[str, Any], now: datetime = START) -> Play:
    return concierge(*events, now=now).accept("MESSAGE", text="Hello")


def test_concierge_warns_of_its_action_that_nobody_runs() -> None:
    assert [finding.code for finding in definition("concierge").warnings] == ["effect_without_handler"]


def test_session_waits_for_its_first_message() -> None:
    play = concierge(LIVE)
    assert play.value == "idle"
    assert play.allowed == ["EVENT_CONTEXT", "MESSAGE", "SESSION_END"]
    assert play.context["contractor"] == {"id": "ada", "name": "Ada"}
    assert play.context["session"] == "s-1"
    assert play.timers == []


@pytest.mark.parametrize(
    ("events", "agent", "reason"),
    [
        ([], "standard_agent", "default"),
        ([LIVE], "event_agent", "event_live"),
        ([LATER_TODAY], "event_agent", "event_today"),
        ([JUST_ENDED], "event_agent", "event_ended"),
        ([TOMORROW], "standard_agent", "default"),
        ([LONG_AGO], "standard_agent", "default"),
        ([LIVE | {"cancelled": True}], "standard_agent", "default"),
        ([LIVE | {"participation": "none"}], "standard_agent", "default"),
        ([LATER_TODAY | {"participation": "checked_in"}], "event_agent", "event_today"),
        ([LATER_TODAY | {"participation": "attending"}], "event_agent", "event_today"),
    ],
)
def test_message_is_routed_by_the_event_that_matters(
    events: list[dict[str, Any]], agent: str, reason: str
) -> None:
    """Guarded branches first, the default last. Rows: C1, C2."""
    play = asked(*events)
    assert play.value == agent
    assert play.context["agent"] == agent.removesuffix("_agent")
    assert play.context["message"] == "Hello"
    assert play.context["last_transition"] == {"to": agent, "reason": reason, "at": at()}
    assert play.version == 1, "routing takes no event of its own"


def test_what_counts_as_today_is_the_day_at_the_event() -> None:
    """Row: C2."""
    # 09:00 UTC is 23:00 in +14:00; what begins two hours later begins there tomorrow.
    later = event(begins={"hours": 2}, ends={"hours": 3}, utc_offset="+14:00")
    assert asked(later).value == "standard_agent"
    assert asked(later | {"utc_offset": "+00:00"}).value == "event_agent"


@pytest.mark.parametrize(("hours", "agent"), [(23.99, "event_agent"), (24, "standard_agent")])
def test_event_matters_for_less_than_24_hours_after_its_end(hours: float, agent: str) -> None:
    """Row: C2."""
    ended = event(begins={"hours": -hours - 1}, ends={"hours": -hours})
    assert asked(ended).value == agent


def test_entry_actions_and_meta_show_who_answers() -> None:
    """Row: C4."""
    play = asked(LIVE)
    assert play.effects == [("agentEntered", {"agent": "event", "contractor": "ada", "event": "live"})]
    [meta] = play.meta.values()
    assert meta["agent"] == "event"
    assert meta["description"]
    assert meta["system_prompt"]
    standard = asked()
    assert standard.effects == [("agentEntered", {"agent": "standard", "contractor": "ada", "event": None})]
    assert standard.tags == play.tags == ["conversation"]


def test_live_event_wins_over_the_others() -> None:
    assert asked(JUST_ENDED, LATER_TODAY, LIVE).context["event"]["id"] == "live"


def test_closest_event_to_come_wins_among_several() -> None:
    """Row: C7."""
    evening = event("evening", begins={"hours": 9}, ends={"hours": 10})
    assert asked(evening, LATER_TODAY, JUST_ENDED).context["event"]["id"] == "later"
    earlier = event("earlier", begins={"hours": -3}, ends={"hours": 2})
    assert asked(LIVE, earlier).context["event"]["id"] == "earlier"


def test_last_to_end_wins_among_events_that_ended() -> None:
    older = event("older", begins={"hours": -23}, ends={"hours": -22})
    assert asked(older, JUST_ENDED).context["event"]["id"] == "ended"


def test_contractor_registers_in_mid_chat() -> None:
    """Rows: C3, C7."""
    play = asked()
    assert play.value == "standard_agent"
    play.accept("EVENT_CONTEXT", events=[LATER_TODAY])
    assert play.value == "event_agent"
    assert play.context["events"] == [LATER_TODAY]


def test_event_starts_and_ends_in_mid_chat() -> None:
    """Row: C7."""
    meeting = event(begins={"minutes": 20}, ends={"minutes": 45}, participation="registered")
    play = asked(meeting)
    assert play.context["last_transition"]["reason"] == "event_today"
    play.wait(minutes=25).accept("MESSAGE", text="Where is it?")
    assert play.context["last_transition"]["reason"] == "event_live"
    play.wait(minutes=25).accept("MESSAGE", text="Was it recorded?")
    assert play.context["last_transition"]["reason"] in ("event_today", "event_ended")
    for _ in range(60):
        play.wait(minutes=29).accept("MESSAGE", text="…")
    assert play.value == "standard_agent"


def test_event_is_cancelled_in_mid_chat() -> None:
    """Row: C7."""
    play = asked(LIVE).accept("EVENT_CONTEXT", events=[LIVE | {"cancelled": True}])
    assert play.value == "standard_agent"
    assert play.context["event"] is None


def test_event_context_of_an_idle_session_counts_with_the_next_message() -> None:
    """Every state that lasts handles new event context. Row: C3."""
    play = concierge().accept("EVENT_CONTEXT", events=[LIVE])
    assert play.value == "idle"
    assert play.accept("MESSAGE", text="Hi").value == "event_agent"


def test_routing_error_falls_back_to_the_standard_agent() -> None:
    """Row: C6."""
    play = asked(LIVE).accept("ROUTING_FAILED", reason="the event agent is unreachable")
    assert play.value == "standard_agent"
    assert play.context["error"] == "the event agent is unreachable"
    assert play.context["last_transition"]["reason"] == "routing_failed"
    assert play.send("ROUTING_FAILED", reason="again") == "EVENT_NOT_ALLOWED"
    play.accept("MESSAGE", text="And now?")
    assert (play.value, play.context["error"]) == ("event_agent", None)


@pytest.mark.parametrize("events", [[], [LIVE]])
def test_silent_session_rests_and_the_next_message_restores_it(events: list[dict[str, Any]]) -> None:
    """Row: C7."""
    play = asked(*events)
    agent = play.value
    play.wait(minutes=29)
    assert play.value == agent
    play.wait(minutes=1)
    assert play.value == "idle"
    assert (play.context["agent"], play.context["message"]) == (None, None)
    assert play.context["last_transition"]["reason"] == "timeout"
    assert play.accept("MESSAGE", text="I am back").value == agent
    assert play.context["contractor"]["id"] == "ada"


def test_each_message_starts_the_silence_again() -> None:
    play = asked()
    for _ in range(3):
        play.wait(minutes=20).accept("MESSAGE", text="Still here")
    assert play.value == "standard_agent"


@pytest.mark.parametrize("start", [concierge, asked, lambda: asked(LIVE)])
def test_end_of_the_session_leaves_no_timer_behind(start: Any) -> None:
    play = start().accept("SESSION_END")
    assert (play.value, play.snapshot.status, play.timers) == ("ended", "done", [])
    assert play.send("MESSAGE", text="Hello?") == "INSTANCE_FINISHED"


def test_same_message_at_another_instant_is_routed_by_that_instant() -> None:
    """The instant is an input: no guard reads a clock. Row: C2."""
    morning = asked(LATER_TODAY, now=START)
    night = asked(LATER_TODAY, now=START + timedelta(days=2))
    assert (morning.value, night.value) == ("event_agent", "standard_agent")


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("MESSAGE", {}),
        ("MESSAGE", {"text": ""}),
        ("EVENT_CONTEXT", {"events": [{"id": "x"}]}),
        ("EVENT_CONTEXT", {"events": [LIVE | {"starts_at": "tomorrow"}]}),
        ("EVENT_CONTEXT", {"events": [LIVE | {"utc_offset": "Mars/Base"}]}),
        ("EVENT_CONTEXT", {"events": [LIVE | {"participation": "maybe"}]}),
        ("ROUTING_FAILED", {}),
        ("SESSION_END", {"now": True}),
    ],
)
def test_wrong_payload_is_refused(event_type: str, data: dict[str, Any]) -> None:
    assert asked().send(event_type, **data) == "PAYLOAD_INVALID"
