"""Which of the engine's error answers is a "no", and which says nothing about what was asked.

An HTTP status of 4xx is the engine's judgement on the request. One of 5xx is a fault of its own (Docker Engine API,
"Errors"): what was asked may have been done or not, and may go well the next time. So it counts as no answer for a
while; a fault that stays the same for so long is taken for a no, since whoever asked would wait for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dopq.container_handler.docker_words import hint_for, is_for_want_of_space, is_transient, plain_words
from dopq.errors import DopqError, EngineRefused, EngineUnavailable

PATIENCE_S = 60.0
"""How long the same fault has to last before it is a "no"."""


def is_fault(status: int) -> bool:
    """Whether an answer of this HTTP status says something of the engine, and nothing of what was asked."""
    return status >= 500


def error_of(doing: str, words: str, *, says_nothing: bool = False) -> DopqError:
    """Our error for an answer that is one. `doing` completes "The container engine would not ..."."""
    said = plain_words(words)
    if says_nothing or is_transient(said):
        hint = hint_for(said) if is_for_want_of_space(said) else "Ask again in a moment."
        return EngineUnavailable(f"The container engine could not {doing} just now: {said}.", hint)
    return EngineRefused(f"The container engine would not {doing}: {said}.", hint_for(said))


class Faults:
    """The faults that one engine's callers have met, and for how long. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}

    def error(self, doing: str, words: str, *, fault: bool) -> DopqError:
        """Our error for an answer that is one; `fault`: it says nothing of what was asked.

        For want of space everybody waits for as long as it lasts.
        """
        says_nothing = fault and (is_for_want_of_space(words) or not self._lasts(doing))
        if not says_nothing:
            self.over(doing)
        return error_of(doing, words, says_nothing=says_nothing)

    def over(self, doing: str) -> None:
        """It went well, or nobody tries it any more."""
        with self._lock:
            self._since.pop(doing, None)

    def _lasts(self, doing: str) -> bool:
        with self._lock:
            return self._clock() - self._since.setdefault(doing, self._clock()) >= PATIENCE_S
