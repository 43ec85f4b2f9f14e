"""The broadcast machine (E1, E2): seven states, exactly their edges, recovery and rollback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.machines.play import Play, definition

Start = Callable[[], Play]

COMPONENTS = ["host", "producer", "feed", "session", "api_key"]
FAILURE = {"error": {"reason": "HOST_DOWN", "message": "The host does not answer."}}
EDGES = {
    ("idle", "initializing"),
    ("initializing", "ready"),
    ("ready", "starting"),
    ("starting", "live"),
    ("live", "stopping"),
    ("stopping", "idle"),
    ("initializing", "error"),
    ("starting", "error"),
    ("live", "error"),
    ("error", "idle"),
}


def idle(**given: Any) -> Play:
    return Play("broadcast", given)


def initializing(**given: Any) -> Play:
    return idle(**given).accept("INITIALIZE")


def bring_up(play: Play) -> Play:
    for component in COMPONENTS:
        play.accept("COMPONENT_READY", output={"component": component})
    return play


def ready(**given: Any) -> Play:
    return bring_up(initializing(**given))


def starting(**given: Any) -> Play:
    return ready(**given).accept("START")


def live(**given: Any) -> Play:
    return starting(**given).accept("STARTED")


def stopping() -> Play:
    return live().accept("STOP")


def failed(**given: Any) -> Play:
    return initializing(**given).accept("COMPONENT_FAILED", **FAILURE)


def stage(play: Play) -> str:
    value = play.value
    return value if isinstance(value, str) else next(iter(value))


def test_broadcast_is_published_without_a_warning() -> None:
    assert definition("broadcast").warnings == ()


def test_edges_are_exactly_those_of_the_requirement() -> None:
    """Row: E1."""
    machine = definition("broadcast").machine
    top = {node.id: node.key for node in machine.root.regions}
    assert list(top.values()) == ["idle", "initializing", "ready", "starting", "live", "stopping", "error"]
    edges = set()
    for node in machine.nodes:
        for transition in [*(one for many in node.on.values() for one in many), *node.always]:
            for target in transition.targets or ():
                if target.id in top:
                    edges.add((top[node.id], top[target.id]))
    assert edges == EDGES


@pytest.mark.parametrize(
    ("start", "expected", "allowed"),
    [
        (idle, "idle", ["INITIALIZE"]),
        (initializing, "initializing", ["COMPONENT_FAILED", "COMPONENT_READY", "EMERGENCY_STOP"]),
        (ready, "ready", ["START"]),
        (starting, "starting", ["EMERGENCY_STOP", "STARTED", "START_FAILED"]),
        (live, "live", ["EMERGENCY_STOP", "FEED_FAILED", "STOP"]),
        (stopping, "stopping", ["STOPPED", "STOP_FAILED"]),
        (failed, "error", ["RECOVER", "STOP"]),
    ],
)
def test_each_state_allows_its_events_and_refuses_all_others(
    start: Start, expected: str, allowed: list[str]
) -> None:
    """Row: E1."""
    play = start()
    assert stage(play) == expected
    assert play.allowed == allowed
    payloads: dict[str, Any] = {"COMPONENT_READY": {"output": {"component": "host"}}}
    payloads |= {name: FAILURE for name in play.definition.event_types if name.endswith("_FAILED")}
    for event_type in set(play.definition.event_types) - set(allowed):
        assert play.send(event_type, **payloads.get(event_type, {})) == "EVENT_NOT_ALLOWED"


def test_initialization_asks_for_every_component_at_once() -> None:
    """Host, producer, feed, session and API key are regions of one machine, each with its effect. Row: E3."""
    assert initializing().effects == [
        ("prepare", {"component": component, "attempt": 1}) for component in COMPONENTS
    ]


def test_initialization_is_complete_before_ready() -> None:
    """Row: E2."""
    play = initializing()
    for component in reversed(COMPONENTS):
        assert stage(play) == "initializing"
        play.accept("COMPONENT_READY", output={"component": component})
    assert stage(play) == "ready"


def test_component_that_is_up_or_unknown_counts_for_no_other() -> None:
    play = initializing().accept("COMPONENT_READY", output={"component": "host"})
    assert play.send("COMPONENT_READY", output={"component": "host"}) == "GUARD_REJECTED"
    assert play.send("COMPONENT_READY", output={"component": "camera"}) == "PAYLOAD_INVALID"
    assert play.value["initializing"]["host"] == "up"
    assert play.value["initializing"]["feed"] == "pending"


def test_whole_way_up_and_down() -> None:
    play = live()
    assert play.context["wanted"] == "live"
    assert play.tags == ["on air"]
    play.accept("STOP")
    assert play.effects == [("closeFeed", None)]
    play.accept("STOPPED")
    assert stage(play) == "idle"
    assert play.context["wanted"] == "off"
    assert play.accept("INITIALIZE").value["initializing"]["host"] == "pending"


def test_failed_stop_ends_in_idle_and_says_why() -> None:
    play = stopping().accept("STOP_FAILED", **FAILURE)
    assert stage(play) == "idle"
    assert play.context["error"]["reason"] == "HOST_DOWN"


def test_failed_start_is_rolled_back() -> None:
    """Row: E2."""
    play = starting().accept("START_FAILED", **FAILURE)
    assert stage(play) == "error"
    assert play.effects == [("rollback", None)]
    assert play.context["error"] == {
        "reason": "HOST_DOWN",
        "message": "The host does not answer.",
        "at": "2025-05-01T09:00:00Z",
    }


def test_failed_feed_is_rolled_back() -> None:
    play = live().accept("FEED_FAILED", **FAILURE)
    assert (stage(play), play.effects) == ("error", [("rollback", None)])


def test_error_recovers_by_itself_as_far_as_it_was_wanted() -> None:
    """Row: E2."""
    play = live(recovery_delay_ms=1_000).accept("FEED_FAILED", **FAILURE)
    play.wait(milliseconds=999)
    assert stage(play) == "error"
    play.wait(milliseconds=1)
    assert stage(play) == "initializing"
    assert play.effects[0] == ("prepare", {"component": "host", "attempt": 2})
    bring_up(play)
    assert stage(play) == "starting", "ready goes on, because live is wanted"
    play.accept("STARTED")
    assert (stage(play), play.context["error"]) == ("live", None)


def test_recovery_of_what_was_to_be_ready_ends_ready() -> None:
    play = failed(recovery_delay_ms=1_000).wait(seconds=1)
    assert stage(bring_up(play)) == "ready"


def test_recoveries_in_a_row_are_limited_and_wait_longer_each_time() -> None:
    """Row: E2."""
    play = failed(max_recoveries=2, recovery_delay_ms=1_000)
    play.wait(seconds=1).accept("COMPONENT_FAILED", **FAILURE)
    play.wait(seconds=1)
    assert stage(play) == "error"
    play.wait(seconds=1).accept("COMPONENT_FAILED", **FAILURE)
    play.wait(hours=1)
    assert stage(play) == "error"
    assert play.context["recoveries"] == 2


def test_no_recovery_when_none_is_configured() -> None:
    assert stage(failed(max_recoveries=0).wait(hours=1)) == "error"


@pytest.mark.parametrize("start", [live, ready])
def test_stable_run_gives_all_recoveries_back(start: Callable[..., Play]) -> None:
    play = failed(recovery_delay_ms=1_000).wait(seconds=1)
    bring_up(play)
    if start is live:
        play.accept("START").accept("STARTED")
    assert play.context["recoveries"] == 1
    play.wait(minutes=1)
    assert play.context["recoveries"] == 0


def test_operator_recovers_at_once_with_all_recoveries() -> None:
    play = failed(max_recoveries=0).accept("RECOVER")
    assert stage(play) == "initializing"
    assert play.context["recoveries"] == 1


def test_operator_gives_up() -> None:
    play = failed().accept("STOP")
    assert (stage(play), play.context["wanted"]) == ("idle", "off")
    assert stage(play.wait(hours=1)) == "idle"


@pytest.mark.parametrize(
    ("start", "ends", "effects"),
    [
        (initializing, "error", []),
        (starting, "error", [("rollback", None)]),
        (live, "stopping", [("closeFeed", None)]),
    ],
)
def test_emergency_stop_ends_everything_and_nothing_comes_back(
    start: Start, ends: str, effects: list[Any]
) -> None:
    play = start().accept("EMERGENCY_STOP")
    assert stage(play) == ends
    assert play.effects == effects
    assert play.context["error"]["reason"] == "EMERGENCY_STOP"
    assert play.context["wanted"] == "off"
    assert stage(play.wait(hours=1)) == ends


def test_recover_after_an_emergency_stop_rests_in_idle() -> None:
    play = initializing().accept("EMERGENCY_STOP").accept("RECOVER")
    assert stage(play) == "idle"


def test_effects_end_with_their_state_but_for_those_that_clean_up() -> None:
    effects = definition("broadcast").effects
    assert {name: spec.cancel_on_exit for name, spec in effects.items()} == {
        "prepare": True,
        "openFeed": True,
        "closeFeed": False,
        "rollback": False,
    }
    assert effects["openFeed"].retry.max_attempts == 1


@pytest.mark.parametrize(
    ("event_type", "data"),
    [
        ("COMPONENT_READY", {}),
        ("COMPONENT_FAILED", {"error": {"reason": "X"}}),
        ("START", {"now": True}),
        ("FEED_FAILED", {}),
    ],
)
def test_wrong_payload_is_refused(event_type: str, data: dict[str, Any]) -> None:
    assert live().send(event_type, **data) == "PAYLOAD_INVALID"
