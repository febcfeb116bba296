"""Whether the entries of a zip lie side by side as its table of contents says, with no byte in a gap or used twice.

Each entry has a header of its own, which unpackers may believe instead of the table: both must tell the same. The
numbers are sections of the format's definition, PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from zipfile import ZipInfo

from dopq.container_handler.zip_name import raw_name

Read = Callable[[int, int], bytes]
"""Read at most so many bytes from an offset, fewer only at the end of the file: `os.pread` of an open file."""

_HEADER = struct.Struct("<4s5H3L2H")  # 4.3.7
_DESCRIPTOR = 0x8  # 4.4.4: checksum and sizes follow the content
_TELLING_FLAGS = 0x1 | _DESCRIPTOR | 0x20 | 0x40 | 0x2000  # what changes how the content is read
_IN_EXTRA = 0xFFFFFFFF  # 4.4.8: the size is in the zip64 extra field
_ZIP64 = 1  # 4.5.3
_LEFT_OPEN = {0, _IN_EXTRA, 0xFFFFFFFFFFFFFFFF}  # 4.4.4 says zero; some tools set all bits


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry's packed bytes begin; `obstacle` says what is wrong with the place, else it is empty."""

    start: int
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class _Header:
    flags: int
    method: int
    sums: tuple[int, int, int]  # CRC-32, packed and unpacked size
    name: bytes
    length: int


def places(read: Read, infos: Sequence[ZipInfo], table_at: int) -> list[Place]:
    """The place of every entry, in the order of `infos`; `table_at` is where the table of contents begins."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in ordered[1:]), table_at]
    found = (
        {
            id(info): _place(read, info, end, is_first=info is ordered[0])
            for info, end in zip(ordered, ends, strict=True)
        }
        if ordered
        else {}
    )
    return [found[id(info)] for info in infos]


def _place(read: Read, info: ZipInfo, end: int, *, is_first: bool) -> Place:
    header = _header(read, info.header_offset)
    if header is None:
        return Place(0, "it is damaged: there is no header where it should begin")
    start = info.header_offset + header.length
    gap = end - start - info.compress_size
    if gap < 0:
        return Place(start, "it overlaps with another entry")
    return Place(
        start, "; ".join(_differences(header, info) or _foreign(read, info, end - gap, gap, is_first=is_first))
    )


def _header(read: Read, offset: int) -> _Header | None:
    fixed = read(_HEADER.size, offset)
    if len(fixed) < _HEADER.size or fixed[:4] != b"PK\x03\x04":
        return None
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _HEADER.unpack(fixed)
    rest = read(name_bytes + extra_bytes, offset + _HEADER.size)
    large = iter(_zip64_sizes(rest[name_bytes:]))
    size, packed = (next(large, value) if value == _IN_EXTRA else value for value in (size, packed))
    return _Header(flags, method, (crc, packed, size), rest[:name_bytes], _HEADER.size + name_bytes + extra_bytes)


def _zip64_sizes(extra: bytes) -> Iterator[int]:
    """Unpacked, then packed size from an extra field (4.5.3), as far as they are there."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == _ZIP64:
            field = extra[4 : 4 + min(length, 16)]
            yield from (value for (value,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8]))
        extra = extra[4 + length :]


def _differences(header: _Header, info: ZipInfo) -> list[str]:
    told = {
        "name": header.name == raw_name(info),
        "compression": header.method == info.compress_type,
        "flags": not (header.flags ^ info.flag_bits) & _TELLING_FLAGS,
        "checksum or sizes": _tells_or_leaves_open(header, info),
    }
    return [
        f"its own header tells another {what} than the table of contents" for what, same in told.items() if not same
    ]


def _tells_or_leaves_open(header: _Header, info: ZipInfo) -> bool:
    """Whether checksum and sizes are the table's, or are left to the data descriptor that follows."""
    known = (info.CRC, info.compress_size, info.file_size)
    follow = header.flags & _DESCRIPTOR
    return all(told == true or (follow and told in _LEFT_OPEN) for told, true in zip(header.sums, known, strict=True))


def _foreign(read: Read, info: ZipInfo, at: int, gap: int, *, is_first: bool) -> Iterator[str]:
    """Bytes beside the entry that belong to nobody, or a data descriptor (4.3.9) that is missing or lies."""
    if is_first and info.header_offset:
        yield f"{info.header_offset} foreign bytes lie before it"
    if info.flag_bits & _DESCRIPTOR:
        if gap not in {12, 16, 20, 24} or read(gap, at) not in _descriptors(info):
            yield "the sizes and the checksum that follow it are missing or differ from the table of contents"
    elif gap:
        yield f"{gap} foreign bytes lie behind it"


def _descriptors(info: ZipInfo) -> list[bytes]:
    """All forms: the signature may be there or not, sizes have four bytes or, in zip64, eight."""
    plain = struct.pack("<LQQ", info.CRC, info.compress_size, info.file_size)
    forms = [plain]
    if max(info.compress_size, info.file_size) <= 0xFFFFFFFF:
        forms.append(struct.pack("<LLL", info.CRC, info.compress_size, info.file_size))
    return [signature + form for form in forms for signature in (b"", b"PK\x07\x08")]
