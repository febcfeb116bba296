"""What a look at one thing found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do where it is not well."""

    what: str
    level: Literal["ok", "warning", "error"]
    found: str
    fix: str = ""


Look = Callable[[], Iterable[Finding]]
"""Looks at one thing, and changes nothing."""


def ok(what: str, found: str) -> Finding:
    """All is well."""
    return Finding(what, "ok", found)


def warning(what: str, found: str, fix: str) -> Finding:
    """A node runs like this; somebody should know what it means."""
    return Finding(what, "warning", found, fix)


def error(what: str, found: str, fix: str) -> Finding:
    """This has to be mended first."""
    return Finding(what, "error", found, fix)
