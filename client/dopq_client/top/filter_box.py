"""Where is typed what is looked for: one line at the foot of the screen."""

from __future__ import annotations

from textual.widgets import Input


class FilterBox(Input):
    """Without height until it is opened; Enter leaves what was typed in force, Escape does not."""

    DEFAULT_CSS = """
    FilterBox, FilterBox:focus {
        height: 0; border: none; padding: 0; background: ansi_default; color: ansi_default;
    }
    """

    def __init__(self) -> None:
        super().__init__(placeholder="show only what has this in it", select_on_focus=False)

    def open(self) -> None:
        """Take what is typed from this moment on, not from the next turn as `focus` would."""
        self.styles.height = 1
        self.screen.set_focus(self)

    def close(self) -> None:
        """Take no room any more."""
        self.styles.height = 0
