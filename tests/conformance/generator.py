"""Random machines with scripts, one per seed; every expression stands there in CEL and in JavaScript."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

Case = dict[str, Any]

EVENTS = ("A", "B", "C", "f", "f.a", "f.b.c", "g.h")
DESCRIPTORS = (*EVENTS, "f.*", "f.b.*", "g.*", "*")
RAISED = ("R1", "R2", "f.a")
KEYS = ("one", "two", "red", "blue", "idle", "dot.ted")
DELAYS = (10, 50, 50, 100, 250)
TIMER_IDS = ("t1", "t2", "t3", "t4", "t5", "t6")

# Pairs that mean the same in CEL and in JavaScript, over context n, m (integers), flag, s, log and event v.
GUARDS = (
    ("context.n > {k}", "context.n > {k}"),
    ("context.n % 2 == 0", "context.n % 2 === 0"),
    ("context.flag", "context.flag"),
    ("!context.flag || context.m < {k}", "!context.flag || context.m < {k}"),
    ("size(context.log) < {k}", "context.log.length < {k}"),
    ("has(event.v) && event.v > {k}", "event.v !== undefined && event.v > {k}"),
    ("event.type in ['A', 'f.a', 'R1']", "['A', 'f.a', 'R1'].includes(event.type)"),
    ("context.n + {k} > params.min", "context.n + {k} > params.min"),
    ("true", "true"),
)
ASSIGNS = (
    ("n", "context.n + 1", "context.n + 1"),
    ("n", "context.n > 6 ? 0 : context.n + {k}", "context.n > 6 ? 0 : context.n + {k}"),
    ("m", "has(event.v) ? event.v : context.m", "event.v !== undefined ? event.v : context.m"),
    ("m", "has(event.output) ? {k} : context.m - 1", "event.output !== undefined ? {k} : context.m - 1"),
    ("flag", "!context.flag", "!context.flag"),
    ("s", "event.type", "event.type"),
    (
        "log",
        "size(context.log) > 5 ? [] : context.log + [event.type]",
        "context.log.length > 5 ? [] : [...context.log, event.type]",
    ),
    ("n", "context.n + params.by", "context.n + params.by"),
)
SHOWN = (
    ("n", "context.n", "context.n"),
    ("t", "event.type", "event.type"),
    ("log", "context.log", "context.log"),
    ("k", "params.k", "params.k"),
)


@dataclass
class Node:
    """A state under construction."""

    key: str
    parent: Node | None
    type: str
    config: Case
    children: list[Node] = field(default_factory=list)

    @property
    def path(self) -> list[str]:
        return [] if self.parent is None else [*self.parent.path, self.key]

    @property
    def depth(self) -> int:
        return len(self.path)

    def below(self) -> list[Node]:
        return [node for child in self.children for node in (child, *child.below())]


def escape(name: str) -> str:
    return name.replace("\\", "\\\\").replace(".", "\\.")


class Generator:
    """Makes one case."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.cel: Case = {}
        self.javascript: Case = {}
        self.names = 0
        self.invoked = False
        self.machine_id = self.random.choice(("m", "m", "order", "dot.ted", None))

    def case(self, name: str) -> Case:
        root = Node(self.machine_id or "(machine)", None, "", {})
        self.grow(root)
        nodes = [root, *root.below()]
        self.ids = {id(root): self.machine_id or "(machine)"}
        for node in nodes[1:]:
            if self.chance(0.15):
                node.config["id"] = self.ids[id(node)] = f"id{self.number()}" + (
                    ".x" if self.chance(0.3) else ""
                )
        for node in nodes:
            self.furnish(node, nodes)
        root.config["context"] = {"n": 0, "m": 3, "flag": False, "s": "", "log": []}
        case: Case = {"id": name, "machine": self.config(root), "events": self.script()}
        if self.chance(0.3):
            self.named("context", "n", "input.start + context.m", "input.start + context.m")
            case["input"] = {"start": self.random.randrange(4)}
        case["implementations"] = self.cel
        case["javascript"] = self.javascript
        return case

    # --- states ------------------------------------------------------------------------------------------

    def grow(self, node: Node) -> None:
        width = self.random.choice((2, 2, 3, 3, 4)) if node.parent is None else self.random.randrange(5)
        if node.depth >= self.random.choice((2, 3, 3, 4)) or width == 0:
            node.type = "final" if node.parent is not None and self.chance(0.2) else "atomic"
            return
        node.type = "parallel" if self.chance(0.35) else "compound"
        for key in self.random.sample(KEYS, width):
            child = Node(key, node, "", {})
            self.grow(child)
            node.children.append(child)
        if self.chance(0.35) and node.parent is not None:
            node.children.append(Node("hist", node, "history", {}))
            self.random.shuffle(node.children)

    def config(self, node: Node) -> Case:
        config = dict(node.config)
        if node.parent is None and self.machine_id is not None:
            config["id"] = self.machine_id
        if node.type in ("parallel", "final", "history"):
            config["type"] = node.type
        if node.children:
            config["states"] = {child.key: self.config(child) for child in node.children}
        return config

    def furnish(self, node: Node, nodes: list[Node]) -> None:
        config = node.config
        if node.type == "history":
            self.furnish_history(node)
            return
        states = [child for child in node.children if child.type != "history"]
        if node.type == "compound":
            # Machines that start in final states or raise events all the time hardly ever settle.
            start = self.random.choice([state for state in states if state.type != "final"] or states).key
            config["initial"] = {"target": start, "actions": self.actions()} if self.chance(0.2) else start
        for key, likely in (("entry", 0.45), ("exit", 0.4)):
            if self.chance(likely):
                config[key] = self.actions()
        if self.chance(0.2):
            config["tags"] = self.random.choice(("t1", ["t1", "t2"], []))
        if self.chance(0.1):
            config["meta"] = {"k": self.random.randrange(3)}
        if node.type == "final" or node.parent is None:
            self.furnish_output(node)
        if node.type == "final":
            return
        on = {
            descriptor: self.candidates(node, nodes, raising=descriptor in EVENTS)
            for descriptor in self.random.sample((*DESCRIPTORS, *RAISED[:2]), self.random.randrange(4))
        }
        if on:
            config["on"] = on
        if self.chance(0.08):
            config["always"] = self.candidates(node, nodes, always_guarded=True)
        if self.chance(0.2):
            delays = self.random.sample([*map(str, DELAYS), "named"], self.random.randrange(1, 3))
            config["after"] = {delay: self.candidates(node, nodes) for delay in delays}
            if "named" in delays and self.chance(0.9):
                self.named(
                    "delays", "named", *self.random.choice(((40, 40), ("context.m * 10", "context.m * 10")))
                )
        if node.children and self.chance(0.4):
            config["onDone"] = self.candidates(node, nodes)
        if self.chance(0.1) and not self.invoked:
            self.cel.setdefault("actors", {})["worker"] = "external"
            self.javascript.setdefault("actors", {})["worker"] = "external"
            # One per machine: XState stops what still runs at the end in the order of spawning.
            self.invoked = True
            config["invoke"] = {"id": "job", "src": "worker", "onDone": self.candidates(node, nodes)}

    def furnish_history(self, node: Node) -> None:
        node.config["history"] = self.random.choice(("shallow", "deep"))
        assert node.parent is not None
        siblings = [child for child in node.parent.children if child.type != "history"]
        if self.chance(0.5):
            target = self.random.choice(siblings)
            node.config["target"] = escape(target.key)

    def furnish_output(self, node: Node) -> None:
        if self.chance(0.3):
            node.config["output"] = {"from": node.key}
        if self.chance(0.2):
            own = self.ids.get(id(node)) or ".".join([self.machine_id or "(machine)", *node.path])
            self.named("outputs", own, "context.n", "context.n")

    # --- transitions ---------------------------------------------------------------------------------------

    def candidates(
        self, node: Node, nodes: list[Node], *, always_guarded: bool = False, raising: bool = False
    ) -> Any:
        made = [
            self.candidate(node, nodes, always_guarded, raising)
            for _ in range(self.random.choice((1, 1, 1, 2, 3)))
        ]
        if len(made) == 1 and self.chance(0.7):
            return made[0]
        return [] if self.chance(0.04) else made

    def candidate(self, node: Node, nodes: list[Node], always_guarded: bool, raising: bool) -> Case:
        candidate: Case = {}
        if self.chance(0.06):
            return candidate
        if self.chance(0.75):
            candidate["target"] = self.target(node, nodes)
        if always_guarded:
            # An eventless transition that stays enabled makes a machine that never settles: count on.
            candidate["guard"] = f"g{self.number()}"
            self.named("guards", candidate["guard"], *self.filled("context.n == {k}", "context.n === {k}"))
            self.named(
                "actions", "on", {"assign": {"n": "context.n + 1"}}, {"assign": {"n": "context.n + 1"}}
            )
            candidate["actions"] = ["on", "went on"]
            return candidate
        if self.chance(0.45):
            candidate["guard"] = self.guard(nodes)
        if self.chance(0.5):
            candidate["actions"] = self.actions(raising=raising)
        if self.chance(0.2):
            candidate["reenter"] = self.chance(0.8)
        return candidate

    def target(self, node: Node, nodes: list[Node]) -> str | list[str]:
        regions = [other for other in nodes if other.parent is not None and other.parent.type == "parallel"]
        if regions and self.chance(0.08):
            parent = self.random.choice(regions).parent
            assert parent is not None
            chosen = [self.random.choice([child, *child.below()]) for child in parent.children]
            return [self.reference(target) for target in chosen if target.type != "history"][
                :3
            ] or self.reference(parent)
        target = self.random.choice(nodes)
        parent = node.parent
        if parent is not None and self.chance(0.5):
            siblings = [other for child in parent.children for other in (child, *child.below())]
            target = self.random.choice(siblings)
            return ".".join(map(escape, target.path[parent.depth :]))
        # XState cannot resolve `.child` in a state whose own name has a dot.
        if node.children and (parent is None or "." not in node.key) and self.chance(0.4):
            target = self.random.choice(node.below())
            return "." + ".".join(map(escape, target.path[node.depth :]))
        return self.reference(target)

    def reference(self, node: Node) -> str:
        own = self.ids.get(id(node))
        if own is not None:
            return "#" + escape(own)
        return "#" + ".".join(map(escape, [self.machine_id or "(machine)", *node.path]))

    # --- implementations -----------------------------------------------------------------------------------

    def guard(self, nodes: list[Node]) -> Any:
        name = f"g{self.number()}"
        if self.chance(0.3):
            members = [self.plain_guard(f"{name}m{index}")[0] for index in range(self.random.randrange(1, 3))]
            target = self.random.choice(nodes)
            composite = self.random.choice(
                ({"and": members}, {"or": members}, {"not": members[0]}, {"stateIn": self.reference(target)})
            )
            self.named("guards", name, composite, composite)
            return name
        needs_params = self.plain_guard(name)[1]
        if needs_params or self.chance(0.1):
            return {"type": name, "params": {"min": self.random.randrange(6)}}
        return name

    def plain_guard(self, name: str) -> tuple[str, bool]:
        member = "m" in name
        pairs = [pair for pair in GUARDS if not (member and "params" in pair[0])]
        cel, javascript = self.filled(*self.random.choice(pairs))
        self.named("guards", name, cel, javascript)
        return name, "params" in cel

    def actions(self, *, raising: bool = False) -> Any:
        made = [self.action(raising) for _ in range(self.random.choice((1, 1, 2, 3)))]
        return made[0] if len(made) == 1 and self.chance(0.5) else made

    def action(self, raising: bool) -> Any:
        kind = self.random.random()
        name = f"a{self.number()}"
        if kind < 0.35:
            key, *pair = self.random.choice(ASSIGNS)
            cel, javascript = self.filled(*pair)
            self.named("actions", name, {"assign": {key: cel}}, {"assign": {key: javascript}})
            return {"type": name, "params": {"by": self.random.randrange(3)}} if "params" in cel else name
        if kind < 0.55:
            key, cel, javascript = self.random.choice(SHOWN)
            self.named("actions", name, {"params": {key: cel}}, {"params": {key: javascript}})
            return {"type": name, "params": {"k": 1, "deep": [1, {"a": None}]}}
        if kind < 0.65:
            return {"type": self.random.choice(("xstate.log", "log", name)), "params": {"label": "x"}}
        if kind < 0.72 and (raising or self.chance(0.1)):
            return {"type": "xstate.raise", "params": {"event": {"type": self.random.choice(RAISED), "v": 2}}}
        if kind < 0.8:
            params: Case = {
                "event": {"type": self.random.choice(EVENTS)},
                "delay": self.random.choice((*DELAYS, "unnamed")),
            }
            if self.chance(0.6):
                params["id"] = self.random.choice(TIMER_IDS)
            return {"type": "xstate.raise", "params": params}
        if kind < 0.84:
            return {"type": "xstate.cancel", "params": {"sendId": self.random.choice(TIMER_IDS)}}
        if kind < 0.88:
            return {"type": "xstate.emit", "params": {"event": {"type": "note", "at": name}}}
        return name

    def filled(self, cel: str, javascript: str) -> tuple[str, str]:
        constant = str(self.random.randrange(6))
        return cel.replace("{k}", constant), javascript.replace("{k}", constant)

    def named(self, section: str, name: str, cel: Any, javascript: Any) -> None:
        self.cel.setdefault(section, {})[name] = cel
        self.javascript.setdefault(section, {})[name] = javascript

    # --- script --------------------------------------------------------------------------------------------

    def script(self) -> list[Case]:
        return [self.item() for _ in range(self.random.randrange(4, 13))]

    def item(self) -> Case:
        kind = self.random.random()
        if kind < 0.2:
            return {"$advance_ms": self.random.choice((0, 1, 10, 50, 99, 300))}
        if kind < 0.24:
            return {
                "type": self.random.choice(("xstate.done.actor.job", "UNKNOWN", "f.unknown")),
                "output": 5,
            }
        if kind < 0.25:
            return {"type": "xstate.error.actor.job", "error": "broken"}
        event: Case = {"type": self.random.choice((*EVENTS, *RAISED))}
        if self.chance(0.5):
            event["v"] = self.random.randrange(10)
        return event

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def number(self) -> int:
        self.names += 1
        return self.names


def make_case(seed: int) -> Case:
    """The case of a seed: a corpus row without ``expect``, with the expressions in ``javascript`` as well."""
    return Generator(seed).case(f"seed-{seed}")
