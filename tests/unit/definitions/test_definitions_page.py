"""The reference page of definitions names every key of an effect, with its true default."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path

from durachart.definitions.effect_spec import EffectSpec, RetryPolicy


def test_page_tells_the_defaults_of_effects(repository: Path) -> None:
    page = (repository / "docs" / "reference" / "definitions.md").read_text()
    told = dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]*?) ?\| ", page, flags=re.MULTILINE))
    words = {None: "no event", False: "false", (): "none"}
    expected = {"handler": "", "rejected": "that of `failed`"}
    for prefix, spec in (("", EffectSpec), ("retry.", RetryPolicy)):
        for field in fields(spec):
            if field.default is not MISSING and field.name != "rejected":
                default = field.default
                expected[prefix + field.name] = words.get(default, str(default).removesuffix(".0"))
    assert {key: default for key, default in told.items() if key in expected} == expected
