"""What viewers of a generation are shown, and what is known of a generation that has ended.

The frames mirror ``TokenFrame`` of ``proto/durachart/v1`` field for field.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class GenerationOutcome(StrEnum):
    """How a generation ended."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TokenUsage(NamedTuple):
    """What the provider counted.

    Attributes:
        input_tokens: Tokens of the request, >= 0.
        output_tokens: Tokens of the answer, >= 0.
    """

    input_tokens: int
    output_tokens: int


class TokenAttemptStarted(NamedTuple):
    """Opens an attempt; text of an earlier attempt is void.

    Attributes:
        model: Model asked for; empty when the effect named none.
    """

    model: str


class TokenEnd(NamedTuple):
    """Closes a generation.

    Attributes:
        outcome: How it ended.
        finish_reason: The provider's own; empty unless completed.
        model: Model that answered; empty when unknown.
        usage: None when unknown, as after a stop.
        error_message: One sentence why it failed; empty unless failed.
        error_reason: Stable reason why it failed; empty unless failed.
    """

    outcome: GenerationOutcome
    finish_reason: str = ""
    model: str = ""
    usage: TokenUsage | None = None
    error_message: str = ""
    error_reason: str = ""


class TokenFrame(NamedTuple):
    """One step of a generation.

    Attributes:
        effect_id: Which generation.
        attempt: Which attempt, from 1; 0: none began.
        offset: Where the text begins in the attempt's text, in code points.
        next_offset: Where the next frame begins.
        body: An attempt began, more text, or the end, after which nothing follows.
    """

    effect_id: str
    attempt: int
    offset: int
    next_offset: int
    body: TokenAttemptStarted | str | TokenEnd


class Generation(NamedTuple):
    """What the store knows of a generation.

    Attributes:
        effect_id: Which.
        attempt: Attempts begun so far.
        model: Model asked for; empty when the effect named none.
        end: None while it has not ended.
        text: The stored result; empty unless completed.
    """

    effect_id: str
    attempt: int
    model: str
    end: TokenEnd | None
    text: str
