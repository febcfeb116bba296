"""Where images are made: begins what may begin, each in a thread of its own, and holds what there is no space for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dopq.build_pool import BuildPool
from dopq.handover import Accepted, GoesOn, OnHold
from dopq.job import JobId, Reason

Make = Callable[[Accepted, threading.Event], bool]
"""Carries out an order, unless the event says that it is cancelled; False if it is to be begun once more."""

NoSpace = Callable[[], Reason | None]
"""Why no image is made for now; None while there is space."""

Say = Callable[[OnHold | GoesOn], None]
"""Tells the node which of the waiting jobs are held, and which no longer."""


class BuildSite:
    """Carries out each order once, as many at a time as there are places. Any thread may call.

    `make` runs in the order's own thread and must not raise.
    """

    def __init__(self, places: int, make: Make, no_space: NoSpace, say: Say) -> None:
        self._make = make
        self._no_space = no_space
        self._say = say
        self._lock = threading.RLock()  # over all of the following: builds end in threads of their own
        self._pool = BuildPool(places)
        self._ordered: set[JobId] = set()
        self._held: set[JobId] = set()
        self._cancelled: dict[JobId, threading.Event] = {}  # of each image in the making
        self._threads: list[threading.Thread] = []
        self._stopped = threading.Event()
        self.trouble: str | None = None  # why what waits is held, for `system`

    @property
    def stopped(self) -> bool:
        """Whether nothing is begun any more."""
        return self._stopped.is_set()

    def take(self, order: Accepted) -> None:
        """Carry out an order when its turn comes; one that was taken before is passed over."""
        with self._lock:
            if order.job in self._ordered:
                return
            self._ordered.add(order.job)
            if order.held:
                self._held.add(order.job)
            self._pool.add(order)
        self.begin()

    def begin(self) -> None:
        """Begin what may begin now; with too little space nothing does, and what waits is held."""
        with self._lock:
            if self.stopped or not self._pool.waiting:
                self.trouble = None
                return
            self._tell_held(self._no_space())
            while not self._held and (order := self._pool.begin_next()):
                self._cancelled[order.job] = threading.Event()
                thread = threading.Thread(target=self._carry_out, args=(order,), name=f"build-{order.job}")
                self._threads = [thread, *(other for other in self._threads if other.is_alive())]
                thread.start()

    def cancel(self, job: JobId) -> None:
        """Forget an order that waits, break off one in the making; an unknown one is passed over."""
        with self._lock:
            self._pool.drop(job)
            if job in self._cancelled:
                self._cancelled[job].set()

    def stop(self) -> None:
        """Break off everything, and wait until it has ended. What waited is neither begun nor told of."""
        self._stopped.set()
        with self._lock:
            for cancelled in self._cancelled.values():
                cancelled.set()
        for thread in self._threads:
            thread.join()

    def _carry_out(self, order: Accepted) -> None:
        cancelled = self._cancelled[order.job]
        done = self._make(order, cancelled)
        with self._lock:
            del self._cancelled[order.job]
            self._pool.end(order.job)
            if not done and not cancelled.is_set():
                self._pool.add(order)
        self.begin()

    def _tell_held(self, reason: Reason | None) -> None:
        waiting = [order.job for order in self._pool.waiting]
        self.trouble = f"No image is made. {reason.sentence}" if reason else None
        if reason:
            for job in waiting:
                if job not in self._held:
                    self._held.add(job)
                    self._say(OnHold(job, reason))
            return
        for job in sorted(self._held & set(waiting)):
            self._say(GoesOn(job))
        self._held.clear()
