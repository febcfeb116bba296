"""Asked twice, done once: the answers to calls that carried a key.

When a connection breaks, the caller cannot know whether its call was done. It asks again with the same key and gets the
first call's answer. What makes jobs (`submit`, `rerun_job`) has its keys in the journal and needs nothing of this;
the others are harmless to repeat after a restart, since callers name jobs by number (docs/adr/0054).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from dopq.errors import DopqError, TryAgain, UserError
from dopq.protocol.plain import pack
from dopq.wire import Plain, error_from_wire, error_to_wire

MOST, MOST_BYTES = 200, 4 * 2**20
"""How many of one caller's answers are remembered, and how much of them; the oldest go, and nobody else's."""

LONGEST_S = 10.0
"""How long a repeated call waits for the first one to end."""


@dataclass(slots=True)
class _Answer:
    question: bytes
    done: threading.Event = field(default_factory=threading.Event)
    result: bytes = b""
    error: Plain | None = None  # not the exception itself, which would keep all that was on its way, and grow with it


class Repeats:
    """What was answered to whom, by their keys. Thread-safe."""

    def __init__(self) -> None:
        self._answers: dict[str, dict[str, _Answer]] = {}  # by caller and key, the oldest first
        self._lock = threading.Lock()

    def once(self, who: str, key: str, question: object, run: Callable[[], bytes]) -> bytes:
        """What `run` returns or raises, now or when `who` asked this `question` with this `key` before.

        Raises:
            UserError: the key was used for another question.
            TryAgain: the first call has not ended yet.
        """
        digest = hashlib.sha256(pack(question)).digest()
        with self._lock:
            theirs = self._answers.setdefault(who, {})
            known = theirs.get(key)
            mine = known or theirs.setdefault(key, _Answer(digest))
        if known:
            return _told(known, digest)
        try:
            mine.result = run()
        except DopqError as error:
            mine.error = error_to_wire(error)
            if isinstance(error, TryAgain):
                self._forget(who, key)  # nothing came of it: asked again, it is tried again
            raise
        except BaseException:
            self._forget(who, key)
            mine.error = error_to_wire(TryAgain("The first call with this key failed.", "Ask again."))
            raise
        finally:
            self._end(who, key, mine)
        return mine.result

    def _forget(self, who: str, key: str) -> None:
        with self._lock:
            self._answers[who].pop(key, None)

    def _end(self, who: str, key: str, answer: _Answer) -> None:
        """Forget the oldest; but not what is under way, which would be done twice."""
        with self._lock:
            answer.done.set()
            theirs = self._answers[who]
            if key in theirs:
                theirs[key] = theirs.pop(key)  # its age counts from now
            ended = [(key, answer) for key, answer in theirs.items() if answer.done.is_set()]
            left, left_bytes = len(ended), sum(len(answer.result) for _, answer in ended)
            for oldest, gone in ended:
                if left <= MOST and left_bytes <= MOST_BYTES:
                    return
                del theirs[oldest]
                left, left_bytes = left - 1, left_bytes - len(gone.result)


def _told(known: _Answer, question: bytes) -> bytes:
    if known.question != question:
        raise UserError("This key was used for another call.", "Make a new key for every change, keep it for repeats.")
    if not known.done.wait(LONGEST_S):
        raise TryAgain("The same call is still under way.", "Ask again with the same key.")
    if known.error is not None:
        raise error_from_wire(known.error)
    return known.result
