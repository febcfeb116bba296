"""The one way of foreign text to a screen or a log: it shows itself, and does nothing else.

Foreign is what users, jobs, peers or Docker wrote.
On a terminal a control character moves the cursor, changes colours, sets the title or fills the clipboard (ECMA-48; OSC
8 and 52), the bidirectional ones show words in another order than they stand in, invisible ones make two names look
alike, and a storm of combining marks paints over the lines around it. Markup is not escaped here: no console of ours
reads any. Pure; both sides use it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

MOST_MARKS = 4
"""Combining marks on one letter that are shown: living scripts stack no more, and a storm of them hides other lines."""

# Letters and marks that show nothing (Default_Ignorable_Code_Point in Unicode 15, DerivedCoreProperties.txt; U+2800).
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0))))  # FE0E and FE0F choose how an emoji looks
)
_MARKS = frozenset({"Mn", "Me"})
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t", '"': r"\"", "\\": r"\\"}


def clean(value: object, keep: str = "") -> str:
    """`value` as one line for a screen: each character that does not show itself is replaced, but those in `keep`.

    A space of another kind becomes a plain one. What `keep` holds is the caller's promise: `\\n` lets text make lines.
    """
    text = str(value)
    if _is_plain(text.translate(dict.fromkeys(map(ord, keep)))):
        return text
    return "".join(c if fine or c in keep else _instead(c) for c, fine in _judged(text))


def escaped(value: object) -> str:
    """`value` as one line for a log: what does not show itself by its number, so that no two values look the same."""
    text = str(value)
    if _is_plain(text) and '"' not in text and "\\" not in text:
        return text
    return "".join(_SHORT_ESCAPES.get(c) or (c if fine else f"\\u{{{ord(c):x}}}") for c, fine in _judged(text))


def _is_plain(text: str) -> bool:
    """Most texts are: to say so quickly keeps a long log quick."""
    return text.isascii() and text.isprintable()


def _judged(text: str) -> Iterator[tuple[str, bool]]:
    """Each character, and whether it is seen on a screen and nothing else happens.

    None are controls, separators, spaces of other kinds, halves of characters, and what is unassigned or private.
    """
    marks = 0
    for character in text:
        if character.isascii():
            marks = 0
            yield character, character.isprintable()
        else:
            marks = marks + 1 if unicodedata.category(character) in _MARKS else 0
            yield character, character.isprintable() and character not in _INVISIBLE and marks <= MOST_MARKS


def _instead(character: str) -> str:
    return " " if unicodedata.category(character) == "Zs" else REPLACEMENT
