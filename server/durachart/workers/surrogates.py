"""Makes text of what a provider streams.

JSON can escape one half of a surrogate pair alone, and a provider that cuts its text without looking sends
the other half in the next piece. A half is no text: it cannot be encoded, so it must not reach the wire or
the store.
"""

from __future__ import annotations

_FIRST_HALF = ("\ud800", "\udbff")


class SurrogateMender:
    """Joins halves that come in two pieces; a half that stays alone becomes U+FFFD."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take the next piece; return what is whole by now, perhaps nothing."""
        text = self._held + piece
        self._held = ""
        if text and _FIRST_HALF[0] <= text[-1] <= _FIRST_HALF[1]:
            text, self._held = text[:-1], text[-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text

    def finish(self) -> str:
        """Return what was still held back."""
        held, self._held = self._held, ""
        return "\ufffd" if held else ""
