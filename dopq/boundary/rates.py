"""How many calls one caller may make: so many a second on average. Faster ones wait a little, then they are refused."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable

from dopq.errors import SlowDown

LONGEST_WAIT_S = 1.0
"""What is due later than that is refused: the caller can do something else meanwhile."""

BURST_S = 2.0
"""So many seconds' worth of calls may come at once."""

MOST_CALLERS = 10_000


class Rates:
    """When each caller's next call is due. Thread-safe."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is a monotonic clock, in seconds."""
        self._now = now
        self._due: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, who: str, per_s: float) -> float:
        """How long this call of `who` has to wait so that they keep to `per_s` calls a second, in seconds.

        Raises:
            SlowDown: longer than that is worth a thread; the call does not count.
        """
        with self._lock:
            now = self._now()
            due = max(self._due.pop(who, -math.inf), now - BURST_S)
            wait = due - now
            if wait <= LONGEST_WAIT_S:
                due += 1 / per_s
            self._due[who] = due
            while len(self._due) > MOST_CALLERS:
                self._due.popitem(last=False)
        if wait > LONGEST_WAIT_S:
            raise SlowDown("Too many calls in a short time.", f"Ask again in {wait:.0f} seconds.", wait_s=wait)
        return max(wait, 0.0)
