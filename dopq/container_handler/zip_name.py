"""The name of a zip's entry, which may be told twice and in several encodings. Pure.

The numbers are sections of the format's definition, PKWARE's APPNOTE.TXT 6.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from zipfile import ZipInfo

_UTF8 = 0x800  # 4.4.4: the name is UTF-8, else IBM code page 437
_UNICODE_PATH = 0x7075  # 4.6.9: version, checksum of the name that it replaces, and the name in UTF-8
_VERSION_AND_CHECKSUM = struct.Struct("<BL")


def raw_name(info: ZipInfo) -> bytes:
    """The name as it stands in the table of contents, with all that `zipfile` cuts off at a NUL."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


def read_name(info: ZipInfo) -> str:
    """The name that is meant. Bytes that are no UTF-8 where they should be become lone surrogates."""
    plain, other = _plain_name(info), _unicode_path(info)
    return other if other and not _is_other_entry(info, plain, other) else plain


def has_two_names(info: ZipInfo) -> bool:
    """Whether some unpackers would write the entry under another name than others, and neither is a mere spelling."""
    plain, other = _plain_name(info), _unicode_path(info)
    return other is not None and _is_other_entry(info, plain, other)


def _plain_name(info: ZipInfo) -> str:
    """The name from the table of contents; macOS writes UTF-8 without saying so."""
    if info.flag_bits & _UTF8:
        return info.orig_filename
    try:
        return raw_name(info).decode("utf-8")
    except UnicodeError:
        return info.orig_filename


def _is_other_entry(info: ZipInfo, plain: str, other: str) -> bool:
    """Honest tools give a second name to spell what the first one cannot: letters beyond its encoding."""
    return other != plain and (other.isascii() or bool(info.flag_bits & _UTF8))


def _unicode_path(info: ZipInfo) -> str | None:
    """The name from the extra field; None where there is none, or it is outdated (4.6.9: another checksum)."""
    for field in _fields(info.extra, _UNICODE_PATH):
        if len(field) >= _VERSION_AND_CHECKSUM.size:
            version, checksum = _VERSION_AND_CHECKSUM.unpack_from(field)
            if (version, checksum) == (1, zlib.crc32(raw_name(info))):
                return field[_VERSION_AND_CHECKSUM.size :].decode("utf-8", "surrogateescape")
    return None


def _fields(extra: bytes, wanted: int) -> Iterator[bytes]:
    """The contents of an extra field's parts of one kind (4.5.1)."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == wanted:
            yield extra[4 : 4 + length]
        extra = extra[4 + length :]
