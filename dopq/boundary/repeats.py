"""Asked twice, done once: the answers to calls that carried a key.

When a connection breaks, the caller cannot know whether its call was done. It asks again with the same key and gets the
first call's answer. What makes jobs (`submit`, `rerun_job`) has its keys in the journal and needs nothing of this;
the others are harmless to repeat after a restart, since callers name jobs by number (docs/adr/0054).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from dopq.errors import DopqError, TryAgain, UserError
from dopq.protocol.plain import pack

MOST = 2_000
"""How many answers are remembered; the oldest go."""

LONGEST_S = 10.0
"""How long a repeated call waits for the first one to end."""


@dataclass(slots=True)
class _Answer:
    question: bytes
    done: threading.Event = field(default_factory=threading.Event)
    result: bytes = b""
    error: DopqError | None = None


class Repeats:
    """What was answered to whom, by their keys. Thread-safe."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], _Answer] = OrderedDict()
        self._lock = threading.Lock()

    def once(self, who: str, key: str, question: object, run: Callable[[], bytes]) -> bytes:
        """What `run` returns or raises, now or when `who` asked this `question` with this `key` before.

        Raises:
            UserError: the key was used for another question.
            TryAgain: the first call has not ended yet.
        """
        digest = hashlib.sha256(pack(question)).digest()
        with self._lock:
            known = self._answers.get((who, key))
            mine = known or self._answers.setdefault((who, key), _Answer(digest))
            while len(self._answers) > MOST:
                self._answers.popitem(last=False)
        if known:
            return _told(known, digest)
        try:
            mine.result = run()
        except DopqError as error:
            mine.error = error
            if isinstance(error, TryAgain):
                self._forget(who, key)  # nothing came of it: asked again, it is tried again
            raise
        except BaseException:
            self._forget(who, key)
            mine.error = TryAgain("The first call with this key failed.", "Ask again.")
            raise
        finally:
            mine.done.set()
        return mine.result

    def _forget(self, who: str, key: str) -> None:
        with self._lock:
            self._answers.pop((who, key), None)


def _told(known: _Answer, question: bytes) -> bytes:
    if known.question != question:
        raise UserError("This key was used for another call.", "Make a new key for every change, keep it for repeats.")
    if not known.done.wait(LONGEST_S):
        raise TryAgain("The same call is still under way.", "Ask again with the same key.")
    if known.error is not None:
        raise known.error
    return known.result
