"""What stops the queue as a whole: a lock, which ends by itself, or a drain, which somebody has to undo.

Both are in the journal, so a restart changes nothing. Running jobs go on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import RLock

from dopq.job import Reason
from dopq.queue_lock import Drain, QueueLock
from dopq.store import Journal
from dopq.utils.clock import Clock


class Stoppage:
    """The lock and the drain of one node. Every method takes the lock that it was given."""

    def __init__(self, journal: Journal, clock: Clock, lock: RLock) -> None:
        self._journal = journal
        self._clock = clock
        self._lock = lock
        self._watchers: list[Callable[[], None]] = []
        noted = journal.noted("lock")
        self._queue_lock = QueueLock.from_json(noted) if noted else None
        noted = journal.noted("drain")
        self._drain = Drain.from_json(noted) if noted else None

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after every change, in the thread that made it: it must ring a doorbell and return."""
        with self._lock:
            self._watchers.append(watcher)

    def lock_for(self, owner: str, reason: str, span: timedelta) -> QueueLock:
        """Start nothing for a while; replaces a lock that is in force."""
        with self._lock:
            lock = QueueLock(owner, reason, self._clock.now() + span)
            self._journal.note("lock", lock.to_json())
            self._queue_lock = lock
            self._tell()
            return lock

    def unlock(self) -> None:
        """End the lock. Twice is fine."""
        with self._lock:
            self._journal.note("lock", None)
            self._queue_lock = None
            self._tell()

    def drain(self, owner: str, reason: str) -> Drain:
        """Start nothing until `undrain`."""
        with self._lock:
            drain = Drain(owner, reason)
            self._journal.note("drain", drain.to_json())
            self._drain = drain
            self._tell()
            return drain

    def undrain(self) -> None:
        """Start jobs again. Twice is fine."""
        with self._lock:
            self._journal.note("drain", None)
            self._drain = None
            self._tell()

    @property
    def queue_lock(self) -> QueueLock | None:
        """The lock that is in force now."""
        with self._lock:
            lock = self._queue_lock
            return lock if lock and lock.until > self._clock.now() else None

    @property
    def draining(self) -> Drain | None:
        """The drain that is in force."""
        return self._drain

    def obstacle(self) -> Reason | None:
        """Why nothing starts now; None where nothing is stopped."""
        stop = self.draining or self.queue_lock
        return stop.obstacle() if stop else None

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()
