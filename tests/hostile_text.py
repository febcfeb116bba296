"""Texts that do something to a naive screen, and whether a screen shows them as text."""

from __future__ import annotations

import unicodedata

HOSTILE: dict[str, str] = {
    "closing markup": "[/]",
    "markup": "[bold red]x[/bold red]",
    "emoji code": ":smiley:",
    "link markup": "[link=http://a]x[/link]",
    "colours": "\x1b[31mred\x1b[0m",
    "cursor": "\x1b[2J\x1b[H\x1b[10A",
    "hyperlink (OSC 8)": "\x1b]8;;http://a\x1b\\x\x1b]8;;\x1b\\",
    "clipboard (OSC 52)": "\x1b]52;c;ZXZpbA==\x07",
    "title (OSC 0)": "\x1b]0;root\x07",
    "C1 CSI": "\x9b31mred",
    "C1 OSC": "\x9d52;c;ZXZpbA==\x9c",
    "bidirectional override": "\u202egnp.exe",
    "bidirectional isolates": "\u2066\u2067x\u2069",
    "zero width": "a\u200bb\u200cc\u200dd\ufeffe\u2060f",
    "tags": "\U000e0041\U000e0042",
    "fillers": "\u3164\u115f\uffa0\u2800",
    "lone surrogate": "a\ud800b\udcff",
    "newlines": "a\nb\r\nc\x0bd\x0ce\x85f\u2028g\u2029h",
    "carriage return": "good\rbad",
    "tab and backspace": "a\tb\x08\x08c",
    "NUL and DEL": "a\0b\x7f",
    "combining storm": "e" + "\u0301\u0315\u035d" * 300,
    "10,000 characters": "x" * 10_000,
    "wide characters": "\u597d" * 200,
    "log forgery": "x\n2026-01-01T00:00:00.000Z INFO dopq.node stopped",
    "unassigned and private": "\U000e0fff\ue000\ufffe",
}


def shows_only_itself(text: str) -> bool:
    """Whether a terminal does nothing but show `text`: lines of printable characters, few marks on each letter."""
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me"} else 0
        if marks > 4 or (character != "\n" and not character.isprintable()):
            return False
    return True
