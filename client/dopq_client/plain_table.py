"""Tables of text, made without rich: that takes longer to load than the service takes to answer."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

GAP = "  "
LEAST_REST = 12
"""Characters of the last text that are worth standing at the end of a line; with less room it goes below."""

INDENT = 5
"""How far in stands what goes below a row."""


class Cell(NamedTuple):
    """One cell: what it says, and the SGR codes of its colour (ECMA-48, 8.3.117), none for the terminal's own."""

    text: str
    colour: str = ""


class Column(NamedTuple):
    """A column of cells; what is wider than `widest` is cut."""

    heading: str
    right: bool = False
    widest: int | None = None


class Row(NamedTuple):
    """One row: its cells, and a text of any length, which goes below where the line has no room for it."""

    cells: Sequence[Cell]
    rest: str = ""


@dataclass(frozen=True, slots=True)
class PlainTable:
    """Columns, a last one (`rest`) that takes the room that is left, and rows. All text has been cleaned already."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    rest: str = ""

    def lines(self, width: int | None, *, colour: bool) -> Iterator[str]:
        """The table, line by line; for `width` None nothing is cut and nothing goes below."""
        headings = [Cell(column.heading, "1") for column in self.columns]
        widths = [self._width(place, column, width) for place, column in enumerate(self.columns)]
        used = sum(widths) + len(GAP) * len(widths)
        room = None if width is None else width - used
        yield self._line(Row([*headings, Cell(self.rest, "1")]), widths, colour)
        for row in self.rows:
            fits = room is None or columns_of(row.rest) <= room
            yield self._line(Row([*row.cells, Cell(row.rest if fits else "")]), widths, colour)
            if not fits and width is not None:
                yield from (" " * INDENT + line for line in folded(row.rest, max(width - INDENT, LEAST_REST)))

    def _width(self, place: int, column: Column, width: int | None) -> int:
        widest = max(map(columns_of, (column.heading, *(row.cells[place].text for row in self.rows))))
        return widest if width is None or column.widest is None else min(widest, column.widest)

    def _line(self, row: Row, widths: Sequence[int], colour: bool) -> str:
        *cells, last = row.cells
        parts = [
            _padded(cell, width, column.right, colour)
            for cell, width, column in zip(cells, widths, self.columns, strict=True)
        ]
        return GAP.join([*parts, _coloured(last.text, last.colour if colour else "")]).rstrip()


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes (Unicode Standard Annex 11)."""
    if text.isascii():
        return len(text)
    return sum(_columns_of_one(character) for character in text)


def cut(text: str, width: int) -> str:
    """A text in at most so many columns."""
    if columns_of(text) <= width:
        return text
    while text and columns_of(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def folded(text: str, width: int) -> Iterator[str]:
    """A text in lines of at most so many columns, broken between words where that can be."""
    line = ""
    for word in text.split():
        rest = word
        while rest:
            longer = f"{line} {rest}" if line else rest
            if columns_of(longer) <= width:
                line, rest = longer, ""
            elif line:
                yield line
                line = ""
            else:
                piece = cut(rest, width).removesuffix("…")
                yield piece
                rest = rest[len(piece) :]
    if line:
        yield line


def _columns_of_one(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _padded(cell: Cell, width: int, right: bool, colour: bool) -> str:
    text = cut(cell.text, width)
    space = " " * (width - columns_of(text))
    told = _coloured(text, cell.colour if colour else "")
    return space + told if right else told + space


def _coloured(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and text else text
