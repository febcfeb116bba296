"""When a log grew: an index of times and sizes beside it, since the bytes of a job have no times of their own.

An entry says that the log had so many bytes at that time. So what was written after a time can be found, with nothing
missing; besides it there may be some that are older, of the second before, or of the time in which nobody read the log.
"""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

_ENTRY = struct.Struct(">QQ")  # ms since 1970, bytes

_BEGIN, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)

APART_MS = 1000
"""How far entries lie apart at least: a log that never stops growing has 1.4 MB of them a day."""


class LogTimes:
    """Writes the index of one log, for one thread at a time. A death of the node costs it an entry or two, no more."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError`."""
        self._path = path
        path.touch(mode=0o600)
        with path.open("rb") as file:
            entries = _count(file.fileno())
            self._last = _entry(file.fileno(), entries - 1) if entries else (0, 0)
        self._end = entries * _ENTRY.size  # a part of an entry is written over
        self._unsaid = self._last

    def grew(self, now: datetime, size: int) -> None:
        """The log has `size` bytes now. Raises `OSError`."""
        if size > self._unsaid[1]:
            now_ms = max(_ms(now + _MS), self._last[0])  # by then for sure; in order, also where the clock is set back
            if now_ms >= self._last[0] + APART_MS:
                self._say(self._unsaid)  # what came before a pause, at its own time
                self._say((now_ms, size))
            self._unsaid = (now_ms, size)

    def _say(self, entry: tuple[int, int]) -> None:
        if entry[1] > self._last[1]:
            with self._path.open("r+b", buffering=0) as file:
                file.seek(self._end)
                file.write(_ENTRY.pack(*entry))
            self._end += _ENTRY.size
            self._last = entry


def size_at(file: int, at: datetime) -> int:
    """How many bytes the log surely had at that time, by the index that is open here; 0 where nobody knows."""
    at_ms, low, high = _ms(at), 0, _count(file)
    while low < high:
        middle = (low + high) // 2
        if _entry(file, middle)[0] <= at_ms:
            low = middle + 1
        else:
            high = middle
    return _entry(file, low - 1)[1] if low else 0


def _count(file: int) -> int:
    return os.fstat(file).st_size // _ENTRY.size


def _entry(file: int, number: int) -> tuple[int, int]:
    at_ms, size = _ENTRY.unpack(os.pread(file, _ENTRY.size, number * _ENTRY.size))
    return at_ms, size


def _ms(at: datetime) -> int:
    return (at - _BEGIN) // _MS
