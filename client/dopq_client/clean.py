"""The one way of foreign text to a screen.

Names, reasons and logs come from other people's jobs and from the service. On a terminal their control characters
could move the cursor, change colours, or (the bidirectional ones) show words in another order than they stand in.
Nothing here escapes markup: our consoles read none (see `Screen`).
"""

from __future__ import annotations

import unicodedata

# Control, format (bidirectional and invisible ones), surrogate, line and paragraph separator (Unicode 15, table 12).
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(value: object, keep: str = "") -> str:
    """`value` as text that only shows itself, with every unsafe character but those in `keep` replaced."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or unicodedata.category(c) not in _UNSAFE else REPLACEMENT for c in text)
