"""Unpacking gzip (RFC 1952) with its output counted as it is written."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import BinaryIO

from dopq.container_handler.refusal import refusal
from dopq.errors import BundleRejected
from dopq.job import Problem

GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS  # zlib: expect gzip's header, check its CRC-32 and length
_PIECE = 256 * 1024


def gunzip(packed: BinaryIO, write: Callable[[bytes], object], most_bytes: int) -> None:
    """Unpack all of `packed`, one member after the other, and hand every piece to `write`.

    Raises:
        BundleRejected: it is no gzip file, damaged or not whole, or it unpacks to more than `most_bytes`.
    """
    packed.seek(0)
    rest = packed.read(_PIECE)
    if rest[:2] != GZIP_MAGIC:
        raise _refused("it is no gzip file, it only has the name of one", "Make it with 'tar -czf'.")
    left = most_bytes
    while rest:
        if not GZIP_MAGIC.startswith(rest[:2]):
            raise _refused("there are foreign bytes after the end of the gzip file", "Pack the bundle again.")
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            data = _unpacked(member, rest)
            if len(data) > left:
                what = f"it unpacks to more than {most_bytes} bytes, which is all that is allowed"
                raise _refused(what, "Leave large data out; the lab's data is mounted at /data.")
            left -= len(data)
            write(data)
            rest = member.unused_data or member.unconsumed_tail or packed.read(_PIECE)


def is_whole_gzip(packed: BinaryIO) -> bool:
    """Whether the first member of a gzip file comes to its end. Damaged bytes are not missing ones."""
    packed.seek(0)
    member = zlib.decompressobj(_GZIP)
    while not member.eof and (piece := packed.read(_PIECE)):
        try:
            while piece:
                member.decompress(piece, _PIECE)
                piece = member.unconsumed_tail
        except zlib.error:
            return True
    return member.eof


def _unpacked(member: zlib._Decompress, packed: bytes) -> bytes:
    """The next piece; empty `packed` means that there is no more, though zlib may still hold some output back."""
    try:
        data = member.decompress(packed, _PIECE)
    except zlib.error as error:
        raise _refused(f"it is damaged ({error})", "Copy or pack the bundle again.") from error
    if not packed and not data and not member.eof:
        raise _refused("the end of the gzip file is missing, as in half a copy", "Copy it again, all of it.")
    return data


def _refused(what: str, instead: str) -> BundleRejected:
    return refusal([Problem("bundle", what, instead)])
