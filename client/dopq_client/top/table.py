"""Tables for a screen: columns that know how to show and to sort facts, and lines of an exact width. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.cells import cell_len
from rich.text import Text

Fact = TypeVar("Fact")

WIDE = 100
"""Characters in a line from which on the columns marked `wide` are shown."""

_GAP = 2


@dataclass(frozen=True, slots=True)
class Column(Generic[Fact]):
    """One column.

    Attributes:
        show: a fact's cell, clean.
        by: what the column is sorted by; None: nobody sorts by it.
        right: figures stand to the right.
        most: the widest that it gets, in characters of the screen.
        least: as narrow as it gets where the line is too narrow, the last columns first; None: it does not give way.
        wide: shown only where there are `WIDE` characters or more.
    """

    heading: str
    show: Callable[[Fact], str | Text]
    by: Callable[[Fact], Any] | None = None
    right: bool = False
    most: int = 1000
    least: int | None = None
    wide: bool = False


def draw(columns: Sequence[Column[Fact]], facts: Sequence[Fact], width: int) -> tuple[Text, list[Text]]:
    """The heading and a line for each fact; none is wider than `width` characters of the screen."""
    shown = [column for column in columns if width >= WIDE or not column.wide]
    cells = [[_text(column.show(fact)) for column in shown] for fact in facts]
    widths = _widths(shown, cells, width)
    heading = _line([Text(column.heading) for column in shown], shown, widths, width)
    heading.stylize("bold")
    return heading, [_line(row, shown, widths, width) for row in cells]


def _text(cell: str | Text) -> Text:
    return cell.copy() if isinstance(cell, Text) else Text(cell)


def _widths(columns: Sequence[Column[Fact]], cells: Sequence[Sequence[Text]], width: int) -> list[int]:
    """As wide as the widest cell, but that some give way where that is too wide for the line."""
    widths = [
        min(column.most, max([cell_len(column.heading), *(row[index].cell_len for row in cells)]))
        for index, column in enumerate(columns)
    ]
    too_wide = sum(widths) + _GAP * (len(widths) - 1) - width
    for index, column in reversed(list(enumerate(columns))):
        if column.least is not None and too_wide > 0:
            given = min(too_wide, max(0, widths[index] - column.least))
            widths[index] -= given
            too_wide -= given
    return widths


def _line(cells: Sequence[Text], columns: Sequence[Column[Fact]], widths: Sequence[int], width: int) -> Text:
    line = Text(no_wrap=True)
    for index, (cell, column, its) in enumerate(zip(cells, columns, widths, strict=True)):
        cell.truncate(its, overflow="ellipsis")
        room = " " * (its - cell.cell_len)
        line.append_text(Text(room) + cell if column.right else cell + Text(room))
        if index + 1 < len(columns):
            line.append(" " * _GAP)
    line.truncate(width)
    line.rstrip()
    return line
