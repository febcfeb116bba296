"""Who starts containers now: what can wait, such as removing others, gives way to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Starts:
    """The starts of containers that are under way. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way = 0
        self._last_s = -float("inf")

    @contextmanager
    def one(self) -> Iterator[None]:
        """A container is started in the body."""
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._last_s = time.monotonic()
                self._changed.notify_all()

    def expect_one(self) -> None:
        """Somebody may start one in this moment: what it needs has become free."""
        with self._changed:
            self._last_s = time.monotonic()

    def give_way(self, quiet_s: float, limit_s: float) -> bool:
        """Wait until nobody has started one for `quiet_s` seconds, at most `limit_s` seconds; whether it is so."""
        deadline = time.monotonic() + limit_s
        with self._changed:
            while (now := time.monotonic()) < deadline:
                quiet_at = self._last_s + quiet_s
                if not self._under_way and quiet_at <= now:
                    return True
                self._changed.wait(deadline - now if self._under_way else min(deadline, quiet_at) - now)
        return False
