"""Where the last lines of a log begin, looked for from its end."""

from __future__ import annotations

import os

TAIL_BYTES = 16 * 2**20
"""How far from its end a log is looked through for lines: what has none would be read to its begin."""

_READ_BYTES = 2**18


def begin_of_lines(file: int, lines: int) -> int:
    """The byte at which the last `lines` lines of an open file begin, a last one without an end among them.

    Never more than `TAIL_BYTES` before its end, even where that is in the middle of a line.
    """
    at = end = os.fstat(file).st_size
    if not lines or not end:
        return end
    lowest = max(0, end - TAIL_BYTES)
    line_ends = lines + (os.pread(file, 1, end - 1) == b"\n")
    while at > lowest:
        begin = max(lowest, at - _READ_BYTES)
        data = os.pread(file, at - begin, begin)
        if data.count(b"\n") >= line_ends:
            return begin + _behind(data, line_ends)
        line_ends -= data.count(b"\n")
        at = begin
    return lowest


def _behind(data: bytes, line_ends: int) -> int:
    """Where it goes on behind that one of its line ends, counted from the last."""
    at = len(data)
    for _ in range(line_ends):
        at = data.rindex(b"\n", 0, at)
    return at + 1
