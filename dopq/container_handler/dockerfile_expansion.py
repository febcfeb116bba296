"""The value of a word such as `python:${VERSION:-3.11}` after FROM. Pure.

Of moby/buildkit, frontend/dockerfile/shell/lex.go, the part that all builders read alike; the rest is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_DEEPEST = 10
_LONGEST = 4096  # characters; the name of an image has a few hundred at most
_PLAIN = re.compile(r"[^$'\"\\`{}]+")
_VARIABLE = re.compile(
    r"\$(?:(?P<bare>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<operator>:?[-+]|(?=\})))"
)
# BuildKit sets these before FROM, the classic builder does not.
_BUILDERS_OWN = re.compile(r"(BUILD|TARGET)(PLATFORM|OS|OSVERSION|ARCH|VARIANT|STAGE)")


class Unclear(Exception):
    """What a word comes to cannot be told; the text says why."""


Value = str | Unclear | None
"""Of a variable: None when it is unset, `Unclear` when builders differ."""


def is_builders_own(name: str) -> bool:
    """Whether a builder may set a variable by itself, to the platform that it builds on or for."""
    return _BUILDERS_OWN.fullmatch(name) is not None


def expand(word: str, values: Mapping[str, Value]) -> str:
    """A word with its variables replaced and the quotes around the whole of it removed.

    Args:
        values: of the variables; one that is missing is unset.

    Raises:
        Unclear: a variable has no value, or the word is written in a way that is not followed here.
    """
    if len(word) >= 2 and word[0] == word[-1] and word[0] in "'\"":
        quote, word = word[0], word[1:-1]
        if quote == "'" and "$" in word:
            raise Unclear("it has a dollar sign in single quotes")
    value, end = _expanded(word, 0, values, depth=0)
    if end < len(word):
        raise Unclear(f"it has {word[end]!r} where this node does not follow it")
    return value


def _expanded(word: str, at: int, values: Mapping[str, Value], *, depth: int) -> tuple[str, int]:
    """The value from `at` to the first character that belongs to nothing, and where that is."""
    if depth > _DEEPEST:
        raise Unclear(f"more than {_DEEPEST} expansions stand in each other")
    value = ""
    while at < len(word):
        if plain := _PLAIN.match(word, at):
            value, at = value + plain[0], plain.end()
        elif variable := _VARIABLE.match(word, at):
            part, at = _variable(word, variable, values, depth=depth)
            value += part
        else:
            break
        if len(value) > _LONGEST:  # the value of one variable may double that of another, line by line
            raise Unclear(f"it comes to more than {_LONGEST} characters")
    return value, at


def _variable(word: str, found: re.Match[str], values: Mapping[str, Value], *, depth: int) -> tuple[str, int]:
    name, operator, end = found["bare"] or found["name"], found["operator"] or "", found.end()
    if found["bare"]:
        return _value(name, operator, "", values), end
    other, end = _expanded(word, end, values, depth=depth + 1) if operator else ("", end)
    if word[end : end + 1] != "}":
        raise Unclear(f"${{{name} is not closed, or holds what this node does not follow")
    return _value(name, operator, other, values), end + 1


def _value(name: str, operator: str, other: str, values: Mapping[str, Value]) -> str:
    value = values.get(name)
    if is_builders_own(name):
        raise Unclear(f"{name} has a value with one builder and none with another")
    if isinstance(value, Unclear):
        raise value
    is_set = bool(value) if operator.startswith(":") else value is not None
    match operator[-1:]:
        case "-":
            return value if is_set and value is not None else other
        case "+":
            return other if is_set else ""
    if value is None:
        raise Unclear(f"{name} has no value: no ARG before the first FROM gives it a default")
    return value
