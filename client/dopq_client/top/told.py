"""The one way from another thread to the screen."""

from __future__ import annotations

from collections.abc import Callable

from textual.message import Message


class Told(Message):
    """Something to be done in the screen's own thread, in the order in which it was told."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self.act = act
