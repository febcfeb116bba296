"""What the screen's own thread is told: what to do, and what has gone wrong past mending."""

from __future__ import annotations

from collections.abc import Callable

from textual.message import Message


class Told(Message):
    """Something to be done in the screen's own thread, in the order in which it was told."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self.act = act


class Defect(Message):
    """Something that nobody foresaw: the screen ends with it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
