"""The last record of a zip file, looked at first: it tells a whole file from half a copy, for 64 KiB of reading.

The numbers are sections of the format's definition, PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import struct
from pathlib import Path

from dopq.container_handler.archive import Limits
from dopq.container_handler.refusal import refusal
from dopq.job import Problem

_END = struct.Struct("<4s4H2LH")  # 4.3.16, end of central directory record
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14, its zip64 form
_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15, stands between the two
_LONGEST_COMMENT = 0xFFFF
_FIRST_BYTES = (b"PK\x03\x04", b"PK\x05\x06")  # a local header, or the end record of an empty archive
_TABLE_BYTES_PER_ENTRY = 1024  # more than an honest entry takes


def check_end(path: Path, limits: Limits) -> None:
    """Raise `BundleRejected` unless the file has the size, the beginning and the end of a zip file.

    Also bounds the table of contents, since `zipfile` holds all of it in memory before anyone can count the entries.
    """
    with path.open("rb") as file:
        first = file.read(4)
        size = file.seek(0, 2)
        file.seek(max(0, size - _END64.size - _LOCATOR.size - _END.size - _LONGEST_COMMENT))
        tail = file.read()
    if problem := _problem(first, size, tail, limits):
        raise refusal([problem])


def _problem(first: bytes, size: int, tail: bytes, limits: Limits) -> Problem | None:
    if size > limits.bundle_bytes:
        what = f"it has {size} bytes, {limits.bundle_bytes} are allowed"
        return Problem("bundle", what, "Leave large data out; the lab's data is mounted at /data.")
    if not size:
        return Problem("bundle", "it is empty (0 bytes)", "Copy it again, all of it.")
    if first not in _FIRST_BYTES:
        return Problem("bundle", "it is no zip file, it only has the name of one", "Make it with 'zip -r'.")
    return _end_problem(tail, size - len(tail), limits)


def _end_problem(tail: bytes, tail_at: int, limits: Limits) -> Problem | None:
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        return Problem("bundle", "the end of the zip file is missing, as in half a copy", "Copy it again, all of it.")
    *_, table_bytes, table_at, comment_bytes = _END.unpack_from(tail, at)
    if len(tail) - at - _END.size != comment_bytes:
        return Problem("bundle", "there are foreign bytes after the end of the zip file", "Zip the bundle again.")
    end = tail_at + at
    if records := _zip64_records(tail[:at]):
        *_, table_bytes, table_at = _END64.unpack_from(records)
        end -= len(records)
    if table_at + table_bytes != end:
        return Problem("bundle", "its table of contents is not where its end says", "Zip the bundle again.")
    if table_bytes > limits.entries * _TABLE_BYTES_PER_ENTRY:
        what = f"its table of contents is far larger than {limits.entries} entries need"
        return Problem("bundle", what, "Pack many small files into one.")
    return None


def _zip64_records(before_end: bytes) -> bytes:
    """The zip64 end record and its locator, which go before the end record where there are any; else nothing."""
    records = before_end[-_LOCATOR.size - _END64.size :]
    is_zip64 = records[:4] == b"PK\x06\x06" and records[_END64.size :][:4] == b"PK\x06\x07"
    return records if is_zip64 and len(records) == _LOCATOR.size + _END64.size else b""
