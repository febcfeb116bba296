"""The end of a job's log as lines for a screen, and on as it grows."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterator

from dopq.clean import clean
from dopq_client.link import Link

BACK_BYTES = 256 * 1024
"""How far back of its end a log is read; the service gives so much at a time."""

LINES = 10_000
"""How many lines are kept."""

_WAIT_S = 5.0
_LONGEST = 4096  # characters of a line that are kept: a log need not have line ends at all


class Lines:
    """The newest lines of what a job writes, clean."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._lines = deque[str](maxlen=LINES)
        self._open = ""

    def add(self, data: bytes) -> None:
        """The next bytes of the log."""
        *whole, self._open = (self._open + self._decode(data)).split("\n")
        self._lines.extend(_shown(line) for line in whole)
        self._open = self._open[-_LONGEST:]

    def all(self) -> list[str]:
        """The lines so far, the one that has not ended among them."""
        return [*self._lines, *([_shown(self._open)] if self._open else [])]


def _shown(line: str) -> str:
    """A line as a terminal would leave it: what comes after a carriage return stands over what came before."""
    last = line.rstrip("\r").rpartition("\r")[2]
    return clean(last[:_LONGEST].expandtabs())


def pieces(link: Link, job: int, *, build: bool) -> Iterator[bytes]:
    """A job's log (`build`: of its build) from a little before its end; empty pieces while nothing follows.

    Ends when no byte will ever follow. Raises as `Link.call` does.
    """
    path = "build.log" if build else "job.log"
    sizes = {result["path"]: int(result["size"]) for result in link.call("list_results", str(job))}
    offset = max(0, sizes.get(path, 0) - BACK_BYTES)
    while True:
        answer = link.call("read_log", str(job), build, offset, BACK_BYTES, _WAIT_S)
        offset += len(answer["data"])
        yield answer["data"]
        if answer["complete"]:
            return
