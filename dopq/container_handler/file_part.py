"""A part of an open file, read without moving anybody's position in it."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of an open file from `start` to before `end`."""

    descriptor: int
    start: int
    end: int

    @classmethod
    def whole(cls, descriptor: int) -> Part:
        """All of a file."""
        return cls(descriptor, 0, os.fstat(descriptor).st_size)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.end - self.start

    def exactly(self, size: int, at: int) -> bytes:
        """`size` bytes from offset `at` of the file; raises `EOFError` where the part ends before."""
        data = os.pread(self.descriptor, size, at) if at + size <= self.end else b""
        if len(data) < size:
            raise EOFError
        return data

    def reader(self) -> io.BufferedReader:
        """The part as a file of its own."""
        return io.BufferedReader(_PartReader(self), _PIECE)


class _PartReader(io.RawIOBase):
    def __init__(self, part: Part) -> None:
        self._part = part
        self._at = part.start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: self._part.start, io.SEEK_CUR: self._at, io.SEEK_END: self._part.end}[whence]
        self._at = base + offset
        return self._at - self._part.start

    def readinto(self, buffer: Any, /) -> int:
        data = os.pread(self._part.descriptor, max(0, min(len(buffer), self._part.end - self._at)), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
