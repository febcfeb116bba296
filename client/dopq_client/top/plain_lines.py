"""A widget that shows lines of text as they are: no markup is read, nothing is wrapped."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget

_CONSOLE = Console(markup=False, emoji=False, highlight=False)


def strip_of(line: Text, width: int, *styles: str) -> Strip:
    """One line of the screen, `width` characters wide."""
    styled = line.copy()
    styled.end = ""
    styled.pad_right(max(0, width - styled.cell_len))
    for style in styles:
        styled.stylize(style)
    return Strip(styled.render(_CONSOLE)).adjust_cell_length(width)


class PlainLines(Widget):
    """Some lines; drawn again only where they are other lines than before."""

    DEFAULT_CSS = "PlainLines { width: 100%; height: 1; }"

    def __init__(self, id: str | None = None) -> None:  # noqa: A002 - textual's name for it
        super().__init__(id=id)
        self._lines: list[Text] = []
        self._style = ""

    @property
    def text(self) -> str:
        """What is shown."""
        return "\n".join(line.plain for line in self._lines)

    def show(self, lines: Sequence[Text], style: str = "") -> None:
        """Show these; `style` lies over all of them."""
        if (list(lines), style) != (self._lines, self._style):
            self._lines, self._style = list(lines), style
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The line at height `y`."""
        line = self._lines[y] if y < len(self._lines) else Text()
        return strip_of(line, self.size.width, self._style)
