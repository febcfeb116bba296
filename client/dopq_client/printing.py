"""Pieces of a log on their way to a screen, a pipe, or a program that reads JSON."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from typing import TextIO

from dopq.clean import clean

LONGEST_LINE = 1024 * 1024
"""A line longer than this comes as several, so that a log without line ends does not fill the memory."""


def print_pieces(pieces: Iterable[bytes], stream: TextIO) -> bool:
    """Bytes as they are into a pipe or file; on a terminal only what shows itself. Whether there were any."""
    printed = False
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    for piece in pieces:
        if stream.isatty():
            # A carriage return stays: progress bars live by it, and it reaches no other line than the job's own.
            piece = clean(decode(piece), keep="\t\n\r").encode()  # noqa: PLW2901 - the same piece, made safe
        stream.buffer.write(piece)
        stream.flush()
        printed = True
    return printed


def lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """The lines of a log without their ends; bytes that are not UTF-8 as U+FFFD."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
        if len(rest) > LONGEST_LINE:
            yield rest.decode("utf-8", "replace")
            rest = b""
    if rest:
        yield rest.decode("utf-8", "replace")
