"""Definitions on offer: what checking one yields, and who checks those that are large.

A small definition is checked in a thread, in the time that handing it to somebody else would take. A large
one keeps an interpreter busy for seconds, and with it every event of the server; so whoever runs the server
may hand in a process for those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import orjson

from durachart.definitions.definition import Definition, canonical_json
from durachart.definitions.findings import Finding

LARGE_CHARACTERS: Final = 32 * 1024
"""A definition with more is large. One of this size takes about as long as a process needs to start."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A definition that may be published.

    Attributes:
        machine_id: Its machine.
        content_hash: See ``Definition``.
        document: Its canonical JSON text.
        description: Of the root state.
        event_types: As a JSON list.
        warnings: What is probably a mistake.
        definition: Compiled; None: it has not been, in this process.
    """

    machine_id: str
    content_hash: str
    document: str
    description: str
    event_types: str
    warnings: tuple[Finding, ...]
    definition: Definition | None = None


class LargeChecks(Protocol):
    """Checks large definitions without keeping this process busy."""

    async def offer(self, definition_json: str) -> Offer:
        """Check a definition for publishing.

        Raises:
            DefinitionInvalid: With all findings; that it took too long is one.
            Overloaded: Too many are waiting.
        """

    async def check(self, definition_json: str) -> list[Finding]:
        """Everything found in a definition. Raises Overloaded: too many are waiting."""


def offer_of(definition: Definition) -> Offer:
    """A definition on offer, as it was compiled here."""
    return Offer(
        definition.machine_id,
        definition.content_hash,
        canonical_json(definition.document),
        definition.description,
        orjson.dumps(definition.event_types).decode(),
        definition.warnings,
        definition,
    )
