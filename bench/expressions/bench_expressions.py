"""What an expression costs: beside the lambda a person would write, to compile, and per unit of its budget.

    python bench/expressions/bench_expressions.py

The last table is what the static costs in ``durachart.expressions.costs`` are calibrated with.
"""

import time
from collections.abc import Callable

from durachart.expressions import Budget, EvaluationError, Scope, compile_expression
from durachart.expressions.expression import _ByTheBook

CONTEXT = {
    "n": 1,
    "total": 200,
    "limit": 10,
    "log": ["a"] * 5,
    "s": "B",
    "flag": True,
    "owner": "u1",
    "rows": [{"id": number, "q": number * 1.5} for number in range(10)],
    "ints": list(range(1, 2_001)),
    "texts": [f"abc{number}" for number in range(2_000)],
    "many": [{"id": number, "q": 1.5, "n": str(number)} for number in range(2_000)],
    "at": ["2026-01-31T09:30:00Z"] * 2_000,
}
EVENT = {"type": "PAY", "amount": 3, "v": 4, "by": "u1"}
PARAMS = {"by": 2}

GUARDS: list[tuple[str, Callable]] = [
    ("true", lambda c, e, p, n, b: True),
    ("event.type", lambda c, e, p, n, b: e["type"]),
    ("context.n + 1", lambda c, e, p, n, b: c["n"] + 1),
    ("context.n + params.by", lambda c, e, p, n, b: c["n"] + p["by"]),
    ("!context.flag", lambda c, e, p, n, b: not c["flag"]),
    ("has(event.v) ? event.v : context.n", lambda c, e, p, n, b: e["v"] if "v" in e else c["n"]),
    ('context.s in ["A", "B", "C"]', lambda c, e, p, n, b: c["s"] in ("A", "B", "C")),
    ("context.log + [event.type]", lambda c, e, p, n, b: c["log"] + [e["type"]]),
    ("context.owner == event.by", lambda c, e, p, n, b: c["owner"] == e["by"]),
    (
        "context.total > 100 && event.amount <= context.limit",
        lambda c, e, p, n, b: c["total"] > 100 and e["amount"] <= c["limit"],
    ),
    (
        "context.rows.exists(r, r.id == event.amount)",
        lambda c, e, p, n, b: any(row["id"] == e["amount"] for row in c["rows"]),
    ),
]

LOOPS = [
    "context.ints.all(x, x > 0)",
    "context.ints.map(x, x + 1)",
    "context.ints.map(x, [x])",
    "context.ints.map(x, {'a': x})",
    "context.many.filter(x, x.id > 5)",
    "context.many.all(x, x.id >= 0 && x.q > 1.0)",
    "context.many.map(x, x)",
    "context.many.all(x, x == x)",
    "context.many.map(x, int(x.n))",
    "context.many.map(x, string(x.q * 1000000.0))",
    "context.texts.all(x, x.contains('b'))",
    "context.texts.all(x, x.matches('^abc[0-9]+$'))",
    "context.texts.all(x, x in context.texts)",
    "context.at.map(x, timestamp(x))",
    "context.at.map(x, timestamp(x).getHours('Europe/Berlin'))",
    "context.ints.map(x, now)",
]


def nanoseconds(work: Callable[[], object], repeats: int, rounds: int = 7) -> float:
    """The best of several rounds: what the work takes when nobody else wants the processor."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter_ns()
        for _ in range(repeats):
            work()
        best = min(best, (time.perf_counter_ns() - start) / repeats)
    return best


def guards() -> None:
    print(f"{'expression':56}{'ns':>8}{'lambda':>8}{'more':>8}")
    budget = Budget(10**15)
    for text, by_hand in GUARDS:
        evaluate = compile_expression(text).evaluate
        ours = nanoseconds(lambda run=evaluate: run(CONTEXT, EVENT, PARAMS, 0, budget), 20_000)
        theirs = nanoseconds(lambda run=by_hand: run(CONTEXT, EVENT, PARAMS, 0, budget), 20_000)
        print(f"{text:56}{ours:8.0f}{theirs:8.0f}{ours - theirs:8.0f}")


def compiling() -> None:
    print(f"\n{'compile':56}{'µs':>8}")
    for text in ("context.n + 1", "context.total > 100 && event.amount <= context.limit"):
        # A new scope each time: nothing is kept for it.
        took = nanoseconds(lambda source=text: compile_expression(source, scope=Scope.from_schemas()), 200, 3)
        print(f"{text:56}{took / 1000:8.0f}")


def units() -> None:
    print(f"\n{'loop':56}{'units':>8}{'ns/unit':>8}{'by the book':>12}")
    for text in LOOPS:
        cells = []
        for run in (compile_expression(text).evaluate, _ByTheBook(text, Scope.DEFAULT, None)):
            budget = Budget(10**15)
            try:
                took = nanoseconds(
                    lambda run=run, budget=budget: run(CONTEXT, EVENT, PARAMS, 0, budget), 1, 3
                )
            except EvaluationError as error:
                raise SystemExit(f"{text}: {error}") from None
            spent = (budget.limit - budget.remaining) / 3
            cells.append((spent, took / spent))
        print(f"{text:56}{cells[0][0]:8.0f}{cells[0][1]:8.0f}{cells[1][1]:12.0f}")


if __name__ == "__main__":
    guards()
    compiling()
    units()
