"""One caller's calls are done few at a time, from their beginning until their answer is read.

An answer may be large, and be built from more: who asked for it on each of their connections, and did not read it,
would take the memory of all, and the processor before that.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from dopq.errors import SlowDown


class Turns:
    """At most `at_once` turns of one caller at a time; those of others are theirs. Thread-safe."""

    def __init__(self, at_once: int, patience_s: float) -> None:
        """`patience_s`: how long one waits for a turn before it is refused."""
        self._at_once = at_once
        self._patience_s = patience_s
        self._taken: Counter[str] = Counter()
        self._ended = threading.Condition()

    @contextmanager
    def turn(self, who: str) -> Iterator[None]:
        """A turn of `who` for as long as the body runs.

        Raises:
            SlowDown: all of theirs are taken, and none has ended in time.
        """
        with self._ended:
            if not self._ended.wait_for(lambda: self._taken[who] < self._at_once, self._patience_s):
                raise SlowDown(
                    "Your other calls are still being answered.",
                    "Read their answers, then ask again.",
                    wait_s=self._patience_s,
                )
            self._taken[who] += 1
        try:
            yield
        finally:
            with self._ended:
                self._taken[who] -= 1
                self._taken += Counter()  # keeps only what is above 0
                self._ended.notify_all()
