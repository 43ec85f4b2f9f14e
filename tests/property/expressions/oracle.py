"""cel-cpp behind a pipe: a JSON request a line on stdin, a JSON answer a line on stdout.

Run as a program, because cel-expr-python can take its interpreter down with it.

Request: ``{"text", "context", "event", "params"}``. Answer: ``{"refused": reason}`` if it does not compile,
``{"error": reason}`` if it has no value, else ``{"value": JSON}`` with timestamps and durations as text and
doubles that JSON lacks as ``{"not json": name}``.
"""

import datetime
import json
import math
import sys

from cel_expr_python import cel

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def plain(value):
    if isinstance(value, bool) or value is None or isinstance(value, int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"not json": "double"}
    if isinstance(value, datetime.datetime):
        text = value.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        return f"{text}{fraction(value.microsecond)}Z"
    if isinstance(value, datetime.timedelta):
        microseconds = value // datetime.timedelta(microseconds=1)
        seconds, rest = divmod(abs(microseconds), 1_000_000)
        digits = f".{rest:06}".rstrip("0") if rest else ""
        return f"{'-' if microseconds < 0 else ''}{seconds}{digits}s"
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key_text(key): plain(item) for key, item in value.items()}
    return {"not json": type(value).__name__}


def key_text(key):
    return str(key).lower() if isinstance(key, bool) else str(key)


def fraction(microseconds):
    if not microseconds:
        return ""
    digits = f"{microseconds:06}"
    return "." + (digits[:3] if digits.endswith("000") else digits)


def answer(environment, request):
    try:
        expression = environment.compile(request["text"])
    except Exception as error:
        return {"refused": str(error)[:300]}
    data = {name: request[name] for name in ("context", "event", "params")}
    try:
        value = expression.eval(data=data)
        if value.type().name() == "ERROR":
            return {"error": str(value.plain_value())[:300]}
        return {"value": plain(value.plain_value())}
    except Exception as error:
        return {"error": str(error)[:300]}


def main():
    environment = cel.NewEnv(variables=dict.fromkeys(("context", "event", "params"), cel.Type.DYN))
    for line in sys.stdin:
        print(json.dumps(answer(environment, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
