"""The bytes of one file in a zip, held to what the table of contents claims: so many, this checksum, and none behind.

`zipfile` stops at the claimed size and looks no further, so that a bomb can pass for ten bytes; this reader does look.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import NoReturn

from dopq.container_handler.refusal import refusal
from dopq.job import Problem

_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Claim:
    """What the table of contents says of a file's content.

    Attributes:
        start: offset of the first packed byte.
        packed: bytes as they lie in the zip.
        size: bytes when unpacked.
        crc: CRC-32 of the unpacked bytes.
        deflated: else they are stored as they are.
    """

    start: int
    packed: int
    size: int
    crc: int
    deflated: bool


class ZipContent:
    """The unpacked bytes of one file (a `Content`)."""

    def __init__(self, descriptor: int, claim: Claim, where: str) -> None:
        """Read from an open file without moving its position; `where` names the entry in problems."""
        self._descriptor = descriptor
        self._where = where
        self._at, self._end = claim.start, claim.start + claim.packed
        self._left, self._claimed_crc, self._crc = claim.size, claim.crc, 0
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if claim.deflated else None
        self._checked = False

    def read(self, size: int = -1, /) -> bytes:
        """As `Content.read` promises."""
        wanted = self._left if size < 0 else min(size, self._left)
        try:
            data = self._inflate(wanted) if self._inflater else self._packed(wanted)
            self._left -= len(data)
            self._crc = zlib.crc32(data, self._crc)
            if len(data) < wanted:
                self._refuse(f"{wanted - len(data)} bytes or more of it are missing")
            if not self._left and not self._checked:
                self._check_end()
        except zlib.error as error:
            self._refuse(f"it is damaged ({error})")
        return data

    def close(self) -> None:
        """Nothing to do: the file belongs to the archive."""

    def _packed(self, size: int) -> bytes:
        data = os.pread(self._descriptor, min(size, self._end - self._at), self._at)
        self._at += len(data)
        return data

    def _inflate(self, wanted: int) -> bytes:
        """The next `wanted` bytes, fewer only where the stream or the packed bytes end."""
        assert self._inflater is not None
        data = bytearray()
        while len(data) < wanted and not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._packed(_CHUNK)
            piece = self._inflater.decompress(packed, wanted - len(data))
            if not packed and not piece:
                break
            data += piece
        return bytes(data)

    def _check_end(self) -> None:
        """Every claimed byte is out: no more may come, and no packed byte may be left over."""
        self._checked = True
        if self._inflater:
            if self._inflate(1):
                self._refuse("it unpacks to more bytes than it claims")
            if not self._inflater.eof or self._inflater.unused_data:
                self._refuse("its packed bytes end elsewhere than they claim")
        if self._at < self._end:
            self._refuse("it has more packed bytes than it claims to unpack to")
        if self._crc != self._claimed_crc:
            self._refuse("it is damaged: its checksum is wrong")

    def _refuse(self, what: str) -> NoReturn:
        raise refusal([Problem(self._where, what, "Copy or pack the bundle again.")])
