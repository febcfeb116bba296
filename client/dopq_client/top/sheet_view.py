"""The widget with the lines of a view: it scrolls, and one of the lines is the selected one."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from dopq_client.top.picture import Picture
from dopq_client.top.plain_lines import strip_of


class SheetView(ScrollView, can_focus=True):
    """Lines by key: the selected one stays selected wherever it moves to."""

    DEFAULT_CSS = "SheetView { width: 100%; height: 1fr; scrollbar-size: 0 0; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup,ctrl+b", "turn(-1)"),
        Binding("pagedown,ctrl+f,space", "turn(1)"),
        Binding("home,g", "move(-1000000)"),
        Binding("end,G", "move(1000000)"),
    ]

    class Moved(Message):
        """Another line is the selected one, or is seen first."""

    def __init__(self, id: str | None = None) -> None:  # noqa: A002 - textual's name for it
        super().__init__(id=id)
        self._picture = Picture([], [])
        self._row = 0
        self._style = ""

    @property
    def key(self) -> object:
        """What the selected line is about; None where none can be selected."""
        return self._picture.keys[self._row] if self._picture.selectable else None

    @property
    def place(self) -> str:
        """Where one is: `3 of 14`."""
        total = len(self._picture.lines)
        if self._picture.selectable:
            return f"{self._row + 1} of {total}"
        last = min(total, self.scroll_offset.y + self.size.height)
        return "" if total <= self.size.height else f"{last} of {total}"

    @property
    def is_at_end(self) -> bool:
        """Whether the last line is seen."""
        return self.scroll_offset.y + self.size.height >= len(self._picture.lines)

    def to_end(self) -> None:
        """Scroll so far that the last line is seen, once it is known how many there are."""
        self.call_after_refresh(self.scroll_end, animate=False, immediate=True)

    def show(self, picture: Picture, style: str = "", *, key: object = None) -> None:
        """Show these lines, `style` over all of them; `key`: which one to select, None for the first."""
        before, row_before, same = self._picture, self._row, style == self._style
        self._picture, self._style = picture, style
        self._row = self._row_of(key)
        self.virtual_size = Size(self.size.width, len(picture.lines))
        for y in range(max(len(before.lines), len(picture.lines))):
            moved = row_before != self._row and y in {row_before, self._row}
            if not same or moved or _line(before, y) != _line(picture, y):
                self._redraw(y)
        self._follow()

    def render_line(self, y: int) -> Strip:
        """The line at height `y` of what is seen."""
        at = y + self.scroll_offset.y
        is_selected = self._picture.selectable and at == self._row
        return strip_of(
            _line(self._picture, at) or Text(), self.size.width, self._style, "reverse" if is_selected else ""
        )

    def action_move(self, by: int) -> None:
        """Select the line so many further down, or scroll where none can be selected."""
        if not self._picture.selectable:
            self.scroll_to(y=self.scroll_offset.y + by, animate=False, immediate=True)
        else:
            before, self._row = self._row, self._within(self._row + by)
            self._redraw(before)
            self._redraw(self._row)
            self._follow()
        self.post_message(self.Moved())

    def action_turn(self, by: int) -> None:
        """The same by so many screens."""
        self.action_move(by * max(1, self.size.height - 1))

    def _row_of(self, key: object) -> int:
        """Where that is now; one that has gone leaves the selection where it was."""
        if key in self._picture.keys:
            return self._picture.keys.index(key)
        return 0 if key is None else self._within(self._row)

    def _within(self, row: int) -> int:
        return max(0, min(row, len(self._picture.lines) - 1))

    def _redraw(self, row: int) -> None:
        self.refresh(Region(0, row - self.scroll_offset.y, self.size.width, 1))

    def _follow(self) -> None:
        """Scroll so far that the selected line is seen."""
        top, height = self.scroll_offset.y, self.size.height
        if self._picture.selectable and height:
            if self._row < top:
                self.scroll_to(y=self._row, animate=False, immediate=True)
            elif self._row >= top + height:
                self.scroll_to(y=self._row - height + 1, animate=False, immediate=True)


def _line(picture: Picture, row: int) -> Text | None:
    return picture.lines[row] if 0 <= row < len(picture.lines) else None
