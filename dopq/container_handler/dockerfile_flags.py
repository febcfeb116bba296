"""The flags of a Dockerfile instruction, `--name=value`. Pure.

As in moby/buildkit, frontend/dockerfile/parser/split_command.go, but for escapes and letters outside ASCII: there the
builders' versions differ, so both are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag; `value` is None where no `=` was written."""

    name: str
    value: str | None


_MOST = 100


class UnclearFlags(Exception):
    """Builders might read these flags in several ways; the text says why."""


def split_flags(text: str) -> tuple[tuple[Flag, ...], str]:
    """The flags at the start of an instruction's text, and the arguments after them. Raises `UnclearFlags`."""
    flags: list[Flag] = []
    rest = text.strip(" \t")
    while rest.startswith("--"):
        if len(flags) == _MOST:
            raise UnclearFlags(f"it has more than {_MOST} flags")
        word, rest = _first_word(rest)
        name, equals, value = word.removeprefix("--").partition("=")
        if not name:
            raise UnclearFlags("'--' without a name")
        flags.append(Flag(name, value if equals else None))
        rest = rest.lstrip(" \t")
    return tuple(flags), rest


def _first_word(text: str) -> tuple[str, str]:
    """The first word with its quotes removed, and what follows it."""
    end, word = 0, ""
    for end, character in _unquoted(text):  # noqa: B007 - the place of the last one is what counts
        word += character
    return word, text[end + 1 :]


def _unquoted(text: str) -> Iterator[tuple[int, str]]:
    """Place and character of each part of the first word; a quote counts as an empty one."""
    quote = ""
    for place, character in enumerate(text):
        if character in "\\`" or not character.isascii():
            raise UnclearFlags(f"a flag holds {character!r}, which builders treat in several ways")
        if character == quote:
            quote = ""
            yield place, ""
        elif quote:
            yield place, character
        elif character in "'\"":
            quote = character
            yield place, ""
        elif character in " \t":
            return
        else:
            yield place, character
    if quote:
        raise UnclearFlags(f"a flag's {quote} is not closed")
