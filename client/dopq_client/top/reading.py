"""Screens to read: the help, why a job waits, its log. Each is a title, lines that scroll, and the keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from dopq_client.top.picture import Picture
from dopq_client.top.plain_lines import PlainLines
from dopq_client.top.sheet_view import SheetView

Lines = Callable[[int], Sequence[Text]]
"""The lines for a width."""


class Reading(Screen[None]):
    """Something to read; `q` or Escape goes back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,escape,enter", "dismiss")]

    KEYS = "q back   ↑ ↓ PgUp PgDn Home End move"

    def __init__(self, title: Text, lines: Lines) -> None:
        super().__init__()
        self._title = title
        self._of_width = lines

    def compose(self) -> ComposeResult:
        """Title, lines, keys."""
        yield PlainLines(id="title")
        yield SheetView(id="text")
        yield PlainLines(id="keys")

    def on_mount(self) -> None:
        """Draw for the first time."""
        self.query_one("#text").focus()

    def on_resize(self) -> None:
        """Draw for the new width, when the widgets know theirs."""
        self.call_after_refresh(self.draw)

    def on_sheet_view_moved(self) -> None:
        """Say where one is now."""
        self._tell_place()

    def draw(self) -> None:
        """Draw what is to be read as it is now."""
        lines = list(self._of_width(self.size.width))
        self.query_one("#title", PlainLines).show([self._title], "reverse")
        self.query_one("#text", SheetView).show(Picture(lines, list(range(len(lines)))))
        self._tell_place()

    def _tell_place(self) -> None:
        place = self.query_one("#text", SheetView).place
        self.query_one("#keys", PlainLines).show([Text(f"{self.KEYS}   {place}")], "dim")
