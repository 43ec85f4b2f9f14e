"""Expressions for Hypothesis to draw: mostly well-typed, now and then not."""

from hypothesis import strategies as st

#: The data every drawn expression runs on.
CONTEXT = {
    "n": 3,
    "zero": 0,
    "one": 1,
    "neg": -7,
    "big": 9223372036854775807,
    "small": -9223372036854775808,
    "f": 1.5,
    "whole": 2.0,
    "tiny": 1e-7,
    "flag": True,
    "off": False,
    "none": None,
    "s": "abc",
    "empty": "",
    "long": "a" * 300 + "b",
    "uni": "héllo ☃ 𝄞",
    "ints": [1, 2, 3, 0],
    "mixed": [1, 1.0, True, "a", None, [1], {"k": 1}],
    "names": ["a", "abc", ""],
    "rows": [{"id": 1, "ok": True}, {"id": 2, "ok": False}, {"id": 3}],
    "map": {"a": 1, "b": 2.5, "c": "x"},
    "deep": {"deep": {"deep": {"n": 1}}},
    "when": "2024-02-29T12:30:45.250Z",
    "span": "90m",
}
EVENT = {"type": "GO", "amount": 5, "by": "abc", "items": [1, 2]}
PARAMS = {"min": 2, "tag": "a"}

_numbers = st.sampled_from(
    ["0", "1", "2", "-1", "3", "7", "100", "9223372036854775807", "-9223372036854775808", "0x1F"]
)
_doubles = st.sampled_from(["0.0", "-0.0", "1.0", "1.5", "-2.25", "1e3", "1e308", "2.5e-8", ".5", "1e15"])
_unsigned = st.sampled_from(["0u", "1u", "7u", "18446744073709551615u"])
_texts = st.sampled_from(
    [
        '""',
        '"a"',
        "'abc'",
        '"b"',
        'r"\\d"',
        '"\\u00e9\\n"',
        "'''x'''",
        '"2024-02-29T12:30:45.250Z"',
        '"90m"',
        '"12"',
    ]
)
_instants = st.sampled_from(
    [
        "timestamp(context.when)",
        'timestamp("1969-12-31T23:59:59.25Z")',
        'timestamp("2024-12-31T23:30:00.25-05:00")',
        # Nearer than 292 years to the others: cel-cpp's differences end where 64 bits of nanoseconds do.
        'timestamp("2200-12-31T23:59:59.25Z")',
        'timestamp("1920-03-01T00:00:00.25Z")',
    ]
)
# Whole seconds, and instants a whole number of seconds apart: as text, cel-cpp fills the fraction to
# three digits where others do not.
_spans = st.sampled_from(
    ["duration(context.span)", 'duration("-90s")', 'duration("1h2m3s")', 'duration("0")', 'duration("-36h")']
)
_zones = st.sampled_from(["", '"UTC"', '"Europe/Berlin"', '"America/New_York"', '"-03:30"', '"05:45"'])
_calendar = st.sampled_from(
    "getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds "
    "getMilliseconds".split()
)
_fields = st.sampled_from([*CONTEXT, "missing"])
_patterns = st.sampled_from(['"a+"', '"^abc$"', '"[a-z]*b"', '"(a|b)+"', '"^$"', r'"\\w+"', "r'^\\S+$'"])


def _format(template, **parts):
    """A strategy for ``template`` with each part drawn from its strategy."""
    return st.fixed_dictionaries(parts).map(lambda drawn: template.format(**drawn))


def _path():
    return st.one_of(
        _fields.map(lambda name: f"context.{name}"),
        _fields.map(lambda name: f'context["{name}"]'),
        st.sampled_from(
            [
                "event.amount",
                "event.by",
                "event.type",
                "event.gone",
                "event.items",
                "params.min",
                "params.tag",
                "context.deep.deep.deep.n",
                "context.deep.deep.n",
                "context.map.b",
                "context.rows[0].id",
                "context.rows[2].ok",
                "context.ints[3]",
                "context.ints[4]",
                "context.mixed[2]",
                "context",
                "event",
            ]
        ),
    )


_presence = st.one_of(
    _fields.map(lambda name: f"has(context.{name})"),
    st.sampled_from(["has(event.amount)", "has(event.gone)", "has(context.deep.deep.n)", "has(context.n.x)"]),
)


def _deeper(inner):
    """Every construct over smaller expressions; ``x`` and ``y`` are loop variables where they exist."""
    pair = {"a": inner, "b": inner}
    operators = st.sampled_from("+ - * / % == != < <= > >= && || in".split())
    chain = st.sampled_from(["&&", "||"])
    return st.one_of(
        _format("({a} {op} {b})", op=operators, **pair),
        _format("({a} {op} {b} {op} {c})", op=chain, c=inner, **pair),
        _format("(!{a})", a=inner),
        _format("(-{a})", a=inner),
        _format("({a} ? {b} : {c})", c=inner, **pair),
        _format("[{a}, {b}]", **pair),
        _format("[{a}]", a=inner),
        _format('{{"a": {a}, "b": {b}}}', **pair),
        _format("{{{a}: {b}}}", **pair),
        _format("size({a})", a=inner),
        _format("({a}).size()", a=inner),
        _format("({a})[{b}]", **pair),
        _format("({a}).n", a=inner),
        _format("has(({a}).id)", a=inner),
        _format("dyn({a})", a=inner),
        _format(
            "{f}({a})", f=st.sampled_from("int double string bool uint timestamp duration".split()), a=inner
        ),
        _format("(type({a}) == type({b}))", **pair),
        _format("({a}).{f}({b})", f=st.sampled_from(["contains", "startsWith", "endsWith"]), **pair),
        _format("({a}).matches({p})", a=inner, p=_patterns),
        _format("({a}).{f}({z})", a=st.one_of(inner, _instants, _spans), f=_calendar, z=_zones),
        _format("({a}).{f}({v}, {b})", f=_tests, v=_loop_names, **pair),
        _format("({a}).map({v}, {b}, {c})", v=_loop_names, c=inner, **pair),
        _format(
            "({a} {op} {b})",
            a=_instants,
            b=st.one_of(_instants, _spans),
            op=st.sampled_from("+ - < ==".split()),
        ),
    )


_loop_names = st.sampled_from(["x", "y"])
_tests = st.sampled_from("all exists exists_one filter map".split())
_literals = st.one_of(
    _numbers,
    _doubles,
    _texts,
    _unsigned,
    _instants,
    _spans,
    _presence,
    st.sampled_from(["true", "false", "null", "[]", "{}", "b'ab'"]),
)
# Mostly of a type the checker does not know, so that the rules at run time get to speak.
_leaves = st.one_of(_path(), _path(), _literals, _format("dyn({a})", a=_literals), _loop_names)

#: Any expression; a loop variable outside a loop is refused by everyone.
anything = st.recursive(_leaves, _deeper, max_leaves=12)


def _typed():
    """Expressions that mean something, by type: what people write."""
    ints = st.one_of(
        _numbers, st.sampled_from(["context.n", "context.big", "event.amount", "size(context.ints)", "x"])
    )
    bools = st.one_of(st.sampled_from(["true", "context.flag", "context.off", "x"]), _presence)
    texts = st.one_of(
        _texts, st.sampled_from(["context.s", "context.uni", "event.by", "event.type", "params.tag"])
    )
    lists = st.sampled_from(
        ["context.ints", "context.names", "context.mixed", "[1, 2]", "event.items", "[x]"]
    )
    for _ in range(2):
        ints = st.one_of(
            ints,
            _format("({a} {op} {b})", op=st.sampled_from("+-*/%"), a=ints, b=ints),
            _format("({t} ? {a} : {b})", t=bools, a=ints, b=ints),
            _format("size({a} + {b})", a=texts, b=texts),
        )
        bools = st.one_of(
            bools,
            _format("({a} {op} {b})", op=st.sampled_from("< <= > >= == !=".split()), a=ints, b=ints),
            _format("({a} {op} {b})", op=st.sampled_from("< == != >".split()), a=texts, b=texts),
            _format("({a} {op} {b})", op=st.sampled_from(["&&", "||"]), a=bools, b=bools),
            _format("(!{a})", a=bools),
            _format("({a} in {b})", a=st.one_of(ints, texts), b=lists),
            _format("{a}.{f}(x, {b})", a=lists, f=st.sampled_from(["all", "exists", "exists_one"]), b=bools),
        )
        lists = st.one_of(
            lists,
            _format("({a} + [{b}])", a=lists, b=ints),
            _format("({a} + {b})", a=lists, b=lists),
            _format("{a}.map(x, {b})", a=lists, b=ints),
            _format("{a}.filter(x, {b})", a=lists, b=bools),
        )
    return st.one_of(ints, bools, texts, lists)


typed = _typed()
