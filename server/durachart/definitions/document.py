"""Definition documents: JSON or YAML text to data, with every ambiguity refused.

What JSON leaves open, and what YAML adds, is refused rather than guessed: duplicate keys, numbers without a
finite value, broken text, YAML aliases and tags, several documents in one file. Keys keep their order.
YAML is read by its core schema, where ``on`` and ``yes`` are strings, and keys are always strings.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, NoReturn

import orjson
import yaml

from durachart.definitions.errors import DefinitionInvalid
from durachart.definitions.findings import Finding, pointer
from durachart.definitions.report import MAX_FINDINGS, Report
from durachart.definitions.states import MAX_STATES, kind_of, within_limits

Format = Literal["json", "yaml"]

MAX_BYTES = 10 * 1024 * 1024
MAX_YAML_BYTES = 1024 * 1024
"""YAML takes far longer to read than JSON."""

MAX_DEPTH = 200
"""Objects and arrays within one another; a machine nested to its own limit needs about 140."""


MAX_KEY_LENGTH = 1_024
"""Characters of an object's key: places in the document are named by them."""

MAX_VALUES = 1_000_000
"""Objects, arrays, and commas in them: what it costs to read a text, and to check it, goes with their number.

A machine of the most states, each with ten transitions, has 600,000.
"""


@dataclass(frozen=True, slots=True)
class Document:
    """A definition document, not checked yet.

    Attributes:
        sections: ``machine`` and whatever else the document has; a bare machine config is put under
            ``machine``.
        machine_path: JSON pointer to the machine in the text as written: ``""`` for a bare config.
    """

    sections: Mapping[str, Any]
    machine_path: str

    @property
    def machine(self) -> Any:
        """The machine config, whatever it is."""
        return self.sections["machine"]

    @property
    def implementations(self) -> Any:
        """The named implementations; empty without any."""
        return self.sections.get("implementations", {})


def parse_document(text: str | bytes, format: Format = "json") -> Document:  # noqa: A002
    """Read a definition document or a bare machine config.

    Args:
        text: At most 10 MiB as UTF-8 (YAML: 1 MiB).
        format: Which of the two it is.

    Raises:
        DefinitionInvalid: It is no such document; with line and column where that helps.
    """
    raw = _bounded(text, format)
    if format == "json" and raw.count(b"{") > MAX_STATES:
        _check_states(raw)
    data = _parse(raw, format)
    if not isinstance(data, dict):
        _refuse("document_not_object", f"a definition is an object, not {kind_of(data)}")
    if "machine" in data:
        return Document(data, "/machine")
    return Document({"machine": data}, "")


def parse_data(text: str | bytes, format: Format = "json") -> Any:  # noqa: A002
    """Read JSON or YAML under the rules of this module.

    Raises:
        DefinitionInvalid: See ``parse_document``.
    """
    return _parse(_bounded(text, format), format)


def _bounded(text: str | bytes, format: Format) -> bytes:  # noqa: A002
    """The text as bytes without a byte order mark, if it has no more bytes and values than allowed."""
    limit = MAX_BYTES if format == "json" else MAX_YAML_BYTES
    if isinstance(text, str):
        # A character is at least a byte: what is too long is not encoded first.
        try:
            raw = text.encode() if len(text) <= limit else b""
        except UnicodeEncodeError as error:
            _refuse("text_broken", f"the text holds half a character at offset {error.start}")
        size = max(len(raw), len(text))
    else:
        raw, size = text, len(text)
    if size > limit:
        hint = "" if format == "json" else f"JSON may have {MAX_BYTES:,} bytes"
        _refuse("document_too_large", f"the document has {size:,} bytes; the limit is {limit:,}", hint)
    if format == "json":
        _check_number_of_values(raw)
    return raw.removeprefix(BOM_UTF8)


def _parse(raw: bytes, format: Format) -> Any:  # noqa: A002
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        _refuse("text_broken", f"the document is not UTF-8 at byte {error.start}")
    return _parse_json(text) if format == "json" else _parse_yaml(text)


def _refuse(code: str, message: str, hint: str = "", path: str = "") -> NoReturn:
    raise DefinitionInvalid([Finding(code, path, message, hint)])


# --- JSON --------------------------------------------------------------------------------------------------


def _check_number_of_values(raw: bytes) -> None:
    """Refuse a text with too many values before any of them is made; takes some tens of milliseconds.

    First everything is counted, in strings as well. Only when that is too much, strings are taken out, which
    can be done without reading: outside of them there is no backslash, so what remains of the text after its
    escapes are gone alternates at each quote.
    """
    if _values_in(raw) <= MAX_VALUES:
        return
    plain = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    # A member is two strings at most.
    found = plain.count(b'"') // 4
    if found <= MAX_VALUES:
        found = _values_in(b"".join(plain.split(b'"')[::2]))
    if found > MAX_VALUES:
        _refuse(
            "too_many_values",
            f"the document has at least {found:,} values; at most {MAX_VALUES:,} are taken",
            f"make machines of its parts, each of at most {MAX_STATES:,} states, and keep data elsewhere",
        )


def _check_states(raw: bytes) -> None:
    """Refuse a machine with too many states, or too deep ones, from a reading that is quick and less strict.

    The strict one takes three times as long for those that are far over the limit.
    """
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return  # The strict reading says what it is.
    machine, path = data, ""
    if isinstance(data, dict) and "machine" in data:
        machine, path = data["machine"], "/machine"
    report = Report()
    if not within_limits(machine, path, report):
        raise DefinitionInvalid(report.findings)


def _values_in(raw: bytes) -> int:
    """How many objects, arrays, and commas there are; of filled ones as many as they have parts."""
    return raw.count(b"{") + raw.count(b"[") + raw.count(b",")


class _Repeated(dict[str, Any]):
    """An object that had keys twice.

    Attributes:
        keys_twice: Those keys.
    """

    keys_twice: list[str]


def _parse_json(text: str) -> Any:
    repeated = False
    longest = 0

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated, longest
        if not pairs:
            return {}
        found = dict(pairs)
        if (length := max(map(len, found))) > longest:
            longest = length
        if len(found) == len(pairs):
            return found
        repeated = True
        seen: set[str] = set()
        marked = _Repeated(found)
        marked.keys_twice = []
        for key, _ in pairs:
            if key in seen:
                marked.keys_twice.append(key)
            seen.add(key)
        return marked

    try:
        data = json.loads(
            text, object_pairs_hook=read_object, parse_float=_finite, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        _refuse("json_malformed", f"{error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError:
        _refuse_depth()
    except _NumberRefused as error:
        _refuse("number_too_large", str(error))
    except ValueError:
        _refuse("number_too_large", "a whole number has more digits than Python reads")
    _check_depth(data)
    if longest > MAX_KEY_LENGTH:
        _refuse_key(longest)
    if repeated:
        raise DefinitionInvalid(_repeated_keys(data))
    if _ESCAPED_SURROGATE.search(text):
        _check_characters(data)
    return data


_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class _NumberRefused(ValueError):
    """A number JSON cannot hold, or has no finite value."""


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise _NumberRefused(f"the number {text[:30]} is too large")
    return number


def _no_constant(text: str) -> NoReturn:
    raise _NumberRefused(f"{text} is no JSON number")


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for value in level
            if isinstance(value, (dict, list))
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    _refuse_depth()


def _refuse_depth() -> NoReturn:
    _refuse("nested_too_deeply", f"objects and arrays are nested more than {MAX_DEPTH} deep")


def _refuse_key(length: int) -> NoReturn:
    _refuse("key_too_long", f"a key has {length:,} characters; at most {MAX_KEY_LENGTH:,} are taken")


def _repeated_keys(data: Any) -> list[Finding]:
    findings: list[Finding] = []
    pending: list[tuple[str, Any]] = [("", data)]
    while pending and len(findings) < MAX_FINDINGS:
        path, value = pending.pop()
        if isinstance(value, _Repeated):
            findings += [
                Finding("key_repeated", path + pointer(key), f"the key {key!r} stands here twice")
                for key in dict.fromkeys(value.keys_twice)
            ]
        items = value.items() if isinstance(value, dict) else enumerate(value)
        pending += [(path + pointer(key), child) for key, child in items if isinstance(child, (dict, list))]
    return sorted(findings[:MAX_FINDINGS], key=lambda finding: finding.path)


def _check_characters(data: Any) -> None:
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        _refuse("text_broken", "a string holds half a character (a lone surrogate escape)")


# --- YAML --------------------------------------------------------------------------------------------------

_PLAIN: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STRING_TAGS = (None, "!", "tag:yaml.org,2002:str")


def _parse_yaml(text: str) -> Any:
    try:
        return _YamlReader().read(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        _refuse("yaml_malformed", f"{error.problem or error.context or 'this is no YAML'}{place}")
    except yaml.YAMLError as error:
        _refuse("yaml_malformed", str(error))


class _YamlReader:
    """Builds data from the parser's events, without recursion."""

    def __init__(self) -> None:
        self._roots: list[Any] = []
        self._open: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str | None] = []

    def read(self, text: str) -> Any:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.ScalarEvent):
                self._add(self._scalar(event), event)
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self._start(event)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                self._open.pop()
                self._keys.pop()
            elif isinstance(event, yaml.AliasEvent):
                _refuse_at(event, "yaml_alias", "YAML aliases are not read here", "write the content out")
        if len(self._roots) != 1:
            _refuse("document_count", f"one YAML document is expected, not {len(self._roots)}")
        return self._roots[0]

    def _start(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        if event.tag is not None:
            _refuse_at(event, "yaml_tag", f"the YAML tag {event.tag!r} is not read here")
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._add(value, event)
        if len(self._open) >= MAX_DEPTH:
            _refuse_depth()
        self._open.append(value)
        self._keys.append(None)

    def _add(self, value: Any, event: yaml.NodeEvent) -> None:
        if not self._open:
            self._roots.append(value)
            return
        container = self._open[-1]
        if isinstance(container, list):
            container.append(value)
            return
        key = self._keys[-1]
        if key is not None:
            container[key] = value
            self._keys[-1] = None
            return
        if not isinstance(event, yaml.ScalarEvent):
            _refuse_at(event, "yaml_key", "a key must be a string")
        if len(event.value) > MAX_KEY_LENGTH:
            _refuse_key(len(event.value))
        if event.value in container:
            _refuse_at(event, "key_repeated", f"the key {event.value!r} stands here twice")
        self._keys[-1] = event.value

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        text: str = event.value
        if event.tag not in _STRING_TAGS:
            _refuse_at(event, "yaml_tag", f"the YAML tag {event.tag!r} is not read here")
        if event.tag is not None or event.style:
            return text
        if text in _PLAIN:
            return _PLAIN[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OCTAL_OR_HEX.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if isfinite(number):
                return number
            _refuse_at(event, "number_too_large", f"the number {text[:30]} is too large")
        return text


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _refuse_at(event: yaml.NodeEvent, code: str, message: str, hint: str = "") -> NoReturn:
    mark = event.start_mark
    assert mark is not None
    _refuse(code, f"{message}, at line {mark.line + 1}, column {mark.column + 1}", hint)
