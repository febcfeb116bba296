"""The screen: words and tables for people, on a terminal or into a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, TextIO, runtime_checkable

import click

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console, RenderableType


@runtime_checkable
class Lines(Protocol):
    """Something that is drawn without rich."""

    def lines(self, width: int | None, *, colour: bool) -> Iterator[str]:
        """The drawing, line by line, in so many columns; None: in as many as it takes."""
        ...


if TYPE_CHECKING:
    Shown = str | Lines | RenderableType
    """What can be shown: words, and what draws itself, with rich or without."""


def local_now() -> datetime:
    """This moment, in the reader's zone."""
    from datetime import UTC, datetime

    return datetime.now(UTC).astimezone()


def show(thing: Shown, *, stderr: bool = False) -> None:
    """Put something on the screen: words as they are, so that what is longer than a line can be copied."""
    if isinstance(thing, str):
        click.echo(thing, err=stderr)
    elif isinstance(thing, Lines):
        for line in thing.lines(_width(stderr=stderr), colour=_colour(stderr=stderr)):
            click.echo(line, err=stderr)
    else:
        # Nothing is cut off: a path or a fingerprint that is too long for a line goes on in the next.
        console(stderr=stderr).print(thing, crop=False)


def clear() -> None:
    """Begin at the top of an empty screen; where nobody looks at one, part what comes from what was by a line."""
    click.echo("\x1b[H\x1b[2J" if sys.stdout.isatty() else "", nl=not sys.stdout.isatty())


def console(*, stderr: bool = False) -> Console:
    """A console that reads no markup, emoji codes or highlights out of what it prints. Honours NO_COLOR and pipes."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def _width(*, stderr: bool) -> int | None:
    """Columns of the terminal, COLUMNS where it says so; None in a pipe, where nobody is short of them."""
    if os.environ.get("COLUMNS", "").isdecimal() or _stream(stderr=stderr).isatty():
        import shutil

        return max(1, shutil.get_terminal_size().columns)
    return None


def _colour(*, stderr: bool) -> bool:
    return _stream(stderr=stderr).isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _stream(*, stderr: bool) -> TextIO:
    return sys.stderr if stderr else sys.stdout
