"""The machines that are measured, as data every contender can read, and the events that drive them round."""

from __future__ import annotations

from typing import Any

FLAT: dict[str, Any] = {
    "id": "order",
    "initial": "draft",
    "context": {"n": 0, "items": 3, "customer": "c-1", "tags": ["a", "b"]},
    "states": {
        "draft": {"on": {"SUBMIT": {"target": "submitted", "guard": "ready", "actions": "count"}}},
        "submitted": {
            "on": {
                "CONFIRM": {"target": "confirmed", "guard": "ready", "actions": "count"},
                "REJECT": "draft",
            }
        },
        "confirmed": {"on": {"SHIP": {"target": "shipped", "actions": ["count", "note"]}}},
        "shipped": {"on": {"DELIVER": {"target": "delivered", "guard": "ready", "actions": "count"}}},
        "delivered": {"on": {"REOPEN": {"target": "draft", "actions": "count"}}},
    },
}
FLAT_EVENTS = ["SUBMIT", "CONFIRM", "SHIP", "DELIVER", "REOPEN"]

NESTED: dict[str, Any] = {
    "id": "fulfilment",
    "initial": "open",
    "context": {"n": 0, "items": 3, "customer": "c-1", "tags": ["a", "b"]},
    "states": {
        "open": {
            "type": "parallel",
            "on": {"CLOSE": {"target": "closed", "guard": "ready"}},
            "states": {
                "payment": {
                    "initial": "pending",
                    "states": {
                        "pending": {
                            "on": {
                                "AUTHORISE": {"target": "authorised", "guard": "ready", "actions": "count"}
                            }
                        },
                        "authorised": {
                            "entry": "note",
                            "on": {
                                "CAPTURE": {"target": "captured", "actions": "count"},
                                "TICK": {"actions": "count"},
                            },
                        },
                        "captured": {},
                    },
                },
                "packing": {
                    "initial": "waiting",
                    "states": {
                        "waiting": {"on": {"PICK": "picking"}},
                        "picking": {
                            "initial": "shelf",
                            "entry": "note",
                            "exit": "note",
                            "on": {"PACK": {"target": "packed", "guard": "ready"}},
                            "states": {
                                "shelf": {"on": {"NEXT": "scan"}},
                                "scan": {"on": {"NEXT": {"target": "boxed", "actions": "count"}}},
                                "boxed": {},
                            },
                        },
                        "packed": {},
                    },
                },
                "support": {
                    "initial": "quiet",
                    "states": {
                        "quiet": {"on": {"ASK": "ticket"}},
                        "ticket": {
                            "initial": "new",
                            "states": {
                                "new": {
                                    "on": {
                                        "ANSWER": {"target": "answered", "actions": "count"},
                                        "TICK": {"actions": "count"},
                                    }
                                },
                                "answered": {},
                            },
                        },
                    },
                },
            },
        },
        "closed": {
            "initial": "kept",
            "states": {
                "kept": {"on": {"PURGE": {"target": "purged", "guard": "ready", "actions": "count"}}},
                "purged": {},
            },
            "on": {"REOPEN": "open"},
        },
    },
}
NESTED_EVENTS = [
    "AUTHORISE",
    "PICK",
    "NEXT",
    "NEXT",
    "ASK",
    "TICK",
    "ANSWER",
    "PACK",
    "CAPTURE",
    "CLOSE",
    "PURGE",
    "REOPEN",
]

IMPLEMENTATIONS: dict[str, Any] = {
    "guards": {"ready": "context.items > 0"},
    "actions": {"count": {"assign": {"n": "context.n + 1"}}},
}


def machine_named(name: str) -> tuple[dict[str, Any], list[str]]:
    """A machine and its round of events: ``flat``, ``nested``, ``walk-N`` or ``stay-N`` (N states)."""
    if name == "flat":
        return FLAT, FLAT_EVENTS
    if name == "nested":
        return NESTED, NESTED_EVENTS
    kind, size = name.split("-")
    return ring(int(size)), ["NEXT"] if kind == "walk" else ["NEXT", "BACK"]


def ring(size: int) -> dict[str, Any]:
    """``size`` states in a ring, four to a compound state, so that depth stays the same whatever the size."""
    groups = size // 5
    states = {}
    for group in range(groups):
        following = f"#ring.g{(group + 1) % groups}"
        inner = {
            f"s{index}": {
                "on": {
                    "NEXT": {
                        "target": f"s{index + 1}" if index < 3 else following,
                        "guard": "ready",
                        "actions": "count",
                    },
                    "BACK": {"target": f"s{index - 1}" if index else "s3", "actions": "count"},
                }
            }
            for index in range(4)
        }
        states[f"g{group}"] = {"initial": "s0", "states": inner}
    return {"id": "ring", "initial": "g0", "context": dict(FLAT["context"]), "states": states}
