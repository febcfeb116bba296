"""The threads that ask the node, so that the screen never waits: one for the doorbell, one for what is to be shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dopq.errors import DopqError
from dopq_client.link import Link
from dopq_client.top.facts import Facts, View, ask
from dopq_client.top.timetable import Timetable

DOORBELL_S = 5.0
"""How long the node may hold the question whether anything has changed; its own limit."""

PAUSE_S = 2.0
"""Between two tries to reach a node that does not answer."""

Tell = Callable[[Facts | Exception], None]
"""Hears all that is known, whenever it has changed, or why nothing can be known; called in the feed's threads."""


class Feed:
    """All that is known of a node, kept new."""

    def __init__(self, link: Link, facts: Facts, tell: Tell) -> None:
        """`facts`: what is known already; nothing is asked before `start`."""
        self._link = link
        self._tell = tell
        self._facts = facts
        self._timetable = Timetable()
        self._changed = threading.Condition()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to ask. The threads end with the process, or after `stop`."""
        for run in (self._listen, self._bring):
            threading.Thread(target=self._run, args=(run,), name=f"top{run.__name__}", daemon=True).start()

    def stop(self) -> None:
        """Ask no more, once what is being asked is answered."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def show(self, view: View) -> None:
        """Another view is looked at."""
        with self._changed:
            self._timetable.show(view)
            self._changed.notify_all()

    def news(self) -> None:
        """Something has changed, or is about to: look soon."""
        with self._changed:
            self._timetable.news()
            self._changed.notify_all()

    def _run(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001 - a defect: the screen ends with it
            self._tell(error)
        finally:
            self._link.close()

    def _listen(self) -> None:
        """Wait for the doorbell, over and over."""
        seq = 0
        while not self._stopping.is_set():
            try:
                newest = int(self._link.call("wait_for_change", seq, DOORBELL_S))
            except DopqError:
                self._stopping.wait(PAUSE_S)  # `_bring` meets the same, and tells
                continue
            if newest != seq:  # smaller after a restart of the node: that is news too
                seq = newest
                self.news()

    def _bring(self) -> None:
        """Ask for what is due, over and over."""
        while not self._stopping.is_set():
            view = self._next()
            if view is None:
                continue
            try:
                answer = ask(self._link, view)
            except DopqError as error:
                self._tell(error)
                self._stopping.wait(PAUSE_S)
            else:
                self._take(view, answer)

    def _next(self) -> View | None:
        """The view that is due, or None after a while, so that whoever waits looks again."""
        with self._changed:
            view, due_s = self._timetable.next()
            wait_s = due_s - time.monotonic()
            if wait_s <= 0:
                return view
            self._changed.wait(wait_s)
        return None

    def _take(self, view: View, answer: object) -> None:
        self._facts = self._facts.with_answer(view, answer)
        with self._changed:
            self._timetable.asked(view, time.monotonic())
            self._timetable.anything_runs = bool(self._facts.running)
        self._tell(self._facts)
