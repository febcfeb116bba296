"""A job's log on the screen: it grows as the job writes, and scrolls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from dopq.clean import clean
from dopq.errors import DopqError
from dopq_client.link import Link
from dopq_client.shapes import JobInfo
from dopq_client.top.reading import Reading
from dopq_client.top.sheet_view import SheetView
from dopq_client.top.tail import Lines, pieces
from dopq_client.top.told import Told
from dopq_client.words import outcome


class LogScreen(Reading):
    """The end of a log, and on. Who scrolls up stays there; at its end one follows it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("b", "other_log"), Binding("l", "dismiss")]

    KEYS = "q back   b build log, job log   ↑ ↓ PgUp PgDn Home End move"

    def __init__(self, link: Link, job: JobInfo, *, build: bool) -> None:
        super().__init__(Text(outcome(job)), self._as_text)
        self._link = link
        self._job = job
        self._build = build
        self._state = "…"
        self._log = Lines()
        self._left = threading.Event()
        self._follows_end = True

    def on_mount(self) -> None:
        """Begin to read."""
        super().on_mount()
        self._read()

    def on_unmount(self) -> None:
        """Read no more."""
        self._left.set()

    def action_other_log(self) -> None:
        """From the job's log to that of its build, and back."""
        self._left.set()
        self._build = not self._build
        self._read()

    def on_sheet_view_moved(self) -> None:
        """Whoever scrolls to the end follows it from then on."""
        super().on_sheet_view_moved()
        self._follows_end = self.query_one("#text", SheetView).is_at_end

    def draw(self) -> None:
        """Draw the lines as they are now, and stay at their end."""
        super().draw()
        if self._follows_end:
            self.query_one("#text", SheetView).to_end()

    def _as_text(self, _width: int) -> list[Text]:
        return [*(Text(line) for line in self._log.all()), Text(self._state, "dim")]

    def _read(self) -> None:
        """A thread for this log; it ends with it."""
        self._left, self._log, self._state, self._follows_end = threading.Event(), Lines(), "…", True
        reading = (self._left, self._log, self._build)
        threading.Thread(target=self._follow, args=reading, name="top-log", daemon=True).start()

    def _follow(self, left: threading.Event, log: Lines, build: bool) -> None:
        state = _SO_FAR[build]
        try:
            for data in pieces(self._link, self._job["id"], build=build):
                if left.is_set():
                    return
                if data or self._state != state:
                    self._show(left, partial(log.add, data), state)
            self._show(left, partial(log.add, b""), _END[build])
        except DopqError as error:
            self._show(left, partial(log.add, b""), clean(str(error)))
        finally:
            self._link.close()

    def _show(self, left: threading.Event, change: Callable[[], None], state: str) -> None:
        """Change what is shown, in the screen's own thread."""

        def act() -> None:
            if not left.is_set():
                change()
                self._state = state
                self.draw()

        self.app.post_message(Told(act))


_SO_FAR = {False: "(so far; it goes on here)", True: "(the build so far; it goes on here)"}
_END = {False: "(the end of the log)", True: "(the end of the build's log)"}
