"""The last record of a zip file, looked at first: it tells a whole file from half a copy, for 64 KiB of reading.

The numbers are sections of the format's definition, PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from dopq.container_handler.archive import Limits, file_problem
from dopq.container_handler.refusal import refusal
from dopq.job import Problem

_END = struct.Struct("<4s4H2LH")  # 4.3.16, end of central directory record
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14, its zip64 form
_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15, stands between the two
_ALL_BITS = (0xFFFF,) * 4 + (0xFFFFFFFF,) * 2
_LONGEST_COMMENT = 0xFFFF
_TABLE_ENTRY = struct.Struct("<28x3H12x")  # 4.3.12: the lengths of name, extra field and comment, which follow
_FIRST_BYTES = (b"PK\x03\x04", b"PK\x05\x06")  # a local header, or the end record of an empty archive
_TABLE_BYTES_PER_ENTRY = 1024  # more than an honest entry takes


@dataclass(frozen=True, slots=True)
class _End:
    disks: tuple[int, int]
    entries: tuple[int, int]  # on this disk, on all
    table_bytes: int
    table_at: int


def has_end(file: BinaryIO) -> bool:
    """Whether an end record is there at all, right or wrong."""
    file.seek(max(0, file.seek(0, 2) - _END.size - _LONGEST_COMMENT))
    return b"PK\x05\x06" in file.read()


def check_end(file: BinaryIO, limits: Limits) -> None:
    """Check that a file has the size, the beginning and the end of a zip file, and a table of contents as announced.

    Also counts the entries, since `zipfile` makes an object of each before anyone else could.

    Raises:
        BundleRejected: it has not.
    """
    file.seek(0)
    first = file.read(4)
    size = file.seek(0, 2)
    file.seek(max(0, size - _END64.size - _LOCATOR.size - _END.size - _LONGEST_COMMENT))
    tail = file.read()
    if problem := file_problem(size, limits):
        raise refusal([problem])
    if first not in _FIRST_BYTES and b"PK\x05\x06" in tail:
        _refuse("there are foreign bytes before the beginning of the zip file")
    if first not in _FIRST_BYTES:
        _refuse("it is no zip file, it only has the name of one", "Make it with 'zip -r'.")
    end = _read(tail, size - len(tail))
    if end.disks != (0, 0) or len(set(end.entries)) > 1:
        _refuse("it is one disk of a zip file in several parts", "Zip the bundle again, into one file.")
    if end.table_bytes > limits.entries * _TABLE_BYTES_PER_ENTRY:
        what = f"its table of contents is far larger than {limits.entries} entries need"
        _refuse(what, "Pack many small files into one.")
    claimed = end.entries[0]
    if claimed > limits.entries:
        _refuse(f"it has {claimed} entries, {limits.entries} are allowed", "Pack many small files into one.")
    file.seek(end.table_at)
    if _count(file.read(end.table_bytes), claimed + 1) != claimed:
        _refuse(f"its table of contents has not the {claimed} entries that its end claims")


def _count(table: bytes, most: int) -> int:
    """The entries of a table of contents, at most `most`; whether each is sound is for others to say."""
    at = entries = 0
    while at < len(table) and entries < most:
        if len(table) - at < _TABLE_ENTRY.size or not table.startswith(b"PK\x01\x02", at):
            _refuse("its table of contents is damaged", "Copy or zip the bundle again.")
        at += _TABLE_ENTRY.size + sum(_TABLE_ENTRY.unpack_from(table, at))
        entries += 1
    if at > len(table):
        _refuse("its table of contents is damaged", "Copy or zip the bundle again.")
    return entries


def _read(tail: bytes, tail_at: int) -> _End:
    """What the end record says, or its zip64 form where there is one, when nothing contradicts it."""
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        _refuse("the end of the zip file is missing, as in half a copy", "Copy it again, all of it.")
    _, *fields, comment_bytes = _END.unpack_from(tail, at)
    if len(tail) - at - _END.size != comment_bytes:
        _refuse("there are foreign bytes after the end of the zip file")
    here = tail_at + at
    if records := _zip64_records(tail[:at]):
        here -= len(records)
        fields = _zip64_fields(records, fields, here)
    *disks_and_entries, table_bytes, table_at = fields
    if table_at + table_bytes != here:
        _refuse("its table of contents is not where its end says")
    disk, table_disk, entries_here, entries = disks_and_entries
    return _End((disk, table_disk), (entries_here, entries), table_bytes, table_at)


def _zip64_records(before_end: bytes) -> bytes:
    """The zip64 end record and its locator, which go before the end record where there are any; else nothing."""
    records = before_end[-_LOCATOR.size - _END64.size :]
    is_zip64 = len(records) == _LOCATOR.size + _END64.size and records[_END64.size :][:4] == b"PK\x06\x07"
    return records if is_zip64 else b""


def _zip64_fields(records: bytes, plain: Sequence[int], at: int) -> list[int]:
    """The fields of the end record at offset `at`, which goes before the `plain` one."""
    signature, length, *_, disk, table_disk, here, entries, table_bytes, table_at = _END64.unpack_from(records)
    _, _, located_at, disks = _LOCATOR.unpack_from(records, _END64.size)
    fields = [disk, table_disk, here, entries, table_bytes, table_at]
    whole = (signature, length, located_at) == (b"PK\x06\x06", _END64.size - 12, at) and disks <= 1
    # 4.4.1.4: a field of the plain record that cannot hold its value has all bits set.
    agree = all(old in {new, mask} for old, new, mask in zip(plain, fields, _ALL_BITS, strict=True))
    if not whole or not agree:
        _refuse("its two end records contradict each other")
    return fields


def _refuse(what: str, instead: str = "Zip the bundle again.") -> NoReturn:
    raise refusal([Problem("bundle", what, instead)])
