"""A question before something is changed, on the last line of the screen."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from dopq_client.top.picture import rendered
from dopq_client.top.plain_lines import PlainLines


class Question(ModalScreen[bool]):
    """Yes, by `y` alone, or no, by `n`, `q` or Escape."""

    CSS = """
    Question { background: transparent; align: left bottom; }
    Question PlainLines { dock: bottom; height: 3; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "answer(True)"), Binding("n,q,escape", "answer(False)")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """The question."""
        yield PlainLines(id="question")

    def on_mount(self) -> None:
        """Show it."""
        asked = rendered(Text(self._text, "bold yellow"), self.app.size.width)
        self.query_one(PlainLines).show([*asked[:2], Text("y yes   n no", "bold")])

    def action_answer(self, yes: bool) -> None:
        """Answer, and go."""
        self.dismiss(yes)
