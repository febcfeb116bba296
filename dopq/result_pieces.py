"""What results hold, many small files or a part of a large one in one answer, and checksums of what was read before.

A file is never read from end to end within one call, so that none holds a thread or memory for longer than a moment.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain, repeat

from dopq.errors import NotFound

ANSWER_BYTES = 2**20
"""How much of the files' content one answer has at most."""

BLOCK_BYTES = 8 * 2**20
"""What of a file has one checksum: so much from each multiple of it on, or up to the file's end."""

SUMMED_BYTES = 8 * BLOCK_BYTES
"""How much is read for the checksums in one answer: a tenth of a second, or two, of a processor."""

_READ_BYTES = 2**20

Opened = Callable[[str], AbstractContextManager[int]]
"""The result of that path, open for reading: a descriptor. Raises `NotFound`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file: the file's size and time of last change, in ns since 1970, and the part with its SHA-256."""

    size: int
    modified_ns: int
    data: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Sums:
    """The SHA-256 of some blocks of a file, and of which file, as in `Piece`."""

    size: int
    modified_ns: int
    sha256: list[str]


def pieces(opened: Opened, paths: Sequence[str], offset: int) -> Iterator[Piece | None]:
    """The content of the files, one after another, the first from byte `offset` on, as far as an answer has room.

    None for one that is not there.
    """
    left = ANSWER_BYTES
    for path, begin in zip(paths, chain([offset], repeat(0)), strict=False):
        if left <= 0:
            return
        try:
            with opened(path) as file:
                piece = _piece(file, begin, left)
        except NotFound:
            piece = None
        left -= len(piece.data) if piece else 0
        yield piece


def sums(opened: Opened, paths: Sequence[str], offset: int) -> Iterator[Sums | None]:
    """The checksums of the files' blocks, the first's from byte `offset` on, as far as an answer has room.

    Of the last file some may be missing. None for a file that is not there.
    """
    left = SUMMED_BYTES
    for path, begin in zip(paths, chain([offset], repeat(0)), strict=False):
        if left <= 0:
            return
        try:
            with opened(path) as file:
                read = _sums(file, begin, left)
        except NotFound:
            read = None
        left -= min(max(0, read.size - begin), left) if read else 0
        yield read


def _piece(file: int, begin: int, most: int) -> Piece:
    info = os.fstat(file)
    data = os.pread(file, most, begin)
    return Piece(info.st_size, info.st_mtime_ns, data, hashlib.sha256(data).hexdigest())


def _sums(file: int, begin: int, most: int) -> Sums:
    info = os.fstat(file)
    blocks = range(begin, min(info.st_size, begin + most), BLOCK_BYTES)
    return Sums(info.st_size, info.st_mtime_ns, [_sum(file, at, min(at + BLOCK_BYTES, info.st_size)) for at in blocks])


def _sum(file: int, begin: int, end: int) -> str:
    digest = hashlib.sha256()
    while begin < end and (data := os.pread(file, min(_READ_BYTES, end - begin), begin)):
        digest.update(data)
        begin += len(data)
    return digest.hexdigest()
