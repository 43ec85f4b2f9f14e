"""What a definition is known by: its document in normal form, its hash, its events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from durachart.definitions.definition import (
    canonical_json,
    check_definition,
    load_definition,
    load_published,
)
from durachart.definitions.errors import DefinitionInvalid

MACHINE: dict[str, Any] = {
    "id": "door",
    "description": "A door.",
    "initial": "shut",
    "states": {
        "shut": {"on": {"OPEN": {"target": "open", "guard": "allowed"}, "door.*": {}}},
        "open": {"on": {"SHUT": "shut", "xstate.done.state.x": {}}},
    },
}
DOCUMENT: dict[str, Any] = {
    "machine": MACHINE,
    "implementations": {"guards": {"allowed": "event.key == 7"}},
    "schemas": {"events": {"OPEN": {"properties": {"key": {"type": "integer"}}}, "door.KNOCK": {}}},
}


class Plugins:
    """The guard of the door, trusted."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self.guards = {"allowed": lambda *_: True}
        self.actions: dict[str, Any] = {}
        self.delays: dict[str, Any] = {}

    def digest_of(self, used: Iterable[tuple[str, str]]) -> str:
        assert set(used) == {("guard", "allowed")}
        return self.digest


def test_definition_tells_what_it_is() -> None:
    definition = load_definition(DOCUMENT)
    assert definition.machine_id == "door"
    assert definition.description == "A door."
    assert definition.event_types == ("OPEN", "SHUT", "door.KNOCK")
    assert dict(definition.effects) == {}
    assert definition.schemas.validate_event("OPEN", {"key": "x"})


def test_text_bytes_data_and_bare_config_mean_the_same() -> None:
    text = json.dumps(DOCUMENT)
    hashes = {load_definition(source).content_hash for source in (DOCUMENT, text, text.encode())}
    assert len(hashes) == 1
    bare = {key: value for key, value in MACHINE.items() if key != "states"} | {"states": {"shut": {}}}
    assert load_definition(bare).content_hash == load_definition({"machine": bare}).content_hash


def test_order_of_sections_and_empty_sections_do_not_count() -> None:
    turned = dict(reversed(DOCUMENT.items())) | {"effects": {}}
    assert load_definition(turned).content_hash == load_definition(DOCUMENT).content_hash
    assert list(load_definition(turned).document) == ["machine", "implementations", "schemas"]


def test_order_of_keys_inside_counts_because_it_has_a_meaning() -> None:
    turned = {**DOCUMENT, "machine": dict(reversed(MACHINE.items()))}
    assert load_definition(turned).content_hash != load_definition(DOCUMENT).content_hash


def test_hash_is_that_of_the_canonical_text() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "ä"}) == '{"b":[1,2.5,null],"a":"ä"}'
    definition = load_definition(canonical_json(load_definition(DOCUMENT).document))
    assert definition.content_hash == load_definition(DOCUMENT).content_hash
    assert len(definition.content_hash) == 64


def test_plugin_counts_only_where_it_is_used() -> None:
    without = {"machine": MACHINE}
    first, second = (load_definition(without, plugins=Plugins(digest)) for digest in ("1", "2"))
    assert first.content_hash != second.content_hash
    unused = load_definition(DOCUMENT, plugins=Plugins("1"))
    assert unused.content_hash == load_definition(DOCUMENT).content_hash


def test_invalid_definition_raises_with_every_finding() -> None:
    state = {"on": {"E": "nowhere"}, "enttry": "x"}
    broken = {"machine": {"id": "m", "initial": "a", "states": {"a": state}}}
    with pytest.raises(DefinitionInvalid) as raised:
        load_definition(broken)
    assert list(raised.value.findings) == check_definition(broken)
    assert [(finding.code, finding.path) for finding in raised.value.findings] == [
        ("target_not_found", "/machine/states/a/on/E"),
        ("unknown_key", "/machine/states/a/enttry"),
    ]


def test_check_never_raises_for_a_bad_document() -> None:
    assert [finding.code for finding in check_definition("{")] == ["json_malformed"]
    assert [finding.code for finding in check_definition("[]")] == ["document_not_object"]
    assert [finding.code for finding in check_definition({"machine": []})] == ["machine_not_object"]


def test_published_definition_loads_although_it_would_not_be_published_today() -> None:
    doubtful = {"machine": {**MACHINE, "unknown": 1}, "implementations": DOCUMENT["implementations"]}
    with pytest.raises(DefinitionInvalid):
        load_definition(doubtful)
    definition = load_published(json.dumps(doubtful))
    assert definition.machine_id == "door"
    assert definition.warnings == ()


def test_published_definition_that_cannot_run_is_refused() -> None:
    with pytest.raises(DefinitionInvalid):
        load_published({"machine": {"id": "m", "initial": "a", "states": {}}})


def test_instance_without_input_starts_with_an_empty_one() -> None:
    definition = load_definition(DOCUMENT)
    assert definition.start_input(None) == {}
    assert definition.start_input({"a": 1}) == {"a": 1}
