"""Text of strangers (decks, models) as any database, terminal and screen can take it."""

import re

# Control characters but newline and tab: Postgres refuses NUL, terminals obey the others. And those that
# reorder what follows them, so that a screen shows other words than the text has; the marks and letters
# of languages that are written from the right stay.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """The text without control characters and lone surrogates."""
    return _CONTROL.sub("", text).encode("utf-8", "replace").decode("utf-8")
