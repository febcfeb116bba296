"""One header of a tar file, read strictly. Pure: bytes in, values or `Malformed` out.

The format is POSIX.1-2017's "ustar Interchange Format" and "pax Header Block" (pax utility, EXTENDED DESCRIPTION), with
GNU's base-256 numbers and long names (tar's manual, "Basic Tar Format").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

BLOCK = 512
MOST_EXTENSION_BYTES = 64 * 1024
"""Of one long name or pax header: far more than any name that is taken."""

_NAME = slice(0, 100)
_MODE = slice(100, 108)
_SIZE = slice(124, 136)
_CHECKSUM = slice(148, 156)
_TYPE = slice(156, 157)
_LINK = slice(157, 257)
_MAGIC = slice(257, 263)
_PREFIX = slice(345, 500)
_HAS_SPARSE_MAP = 482  # GNU: the map of a sparse file goes on in the next block ...
_HAS_MORE_SPARSE_MAP = 504  # ... and that one in another
_POSIX_MAGIC = b"ustar\0"  # GNU's own has "ustar " and other things where POSIX has the prefix

FILES = frozenset({b"0", b"\0", b"7"})  # 7 is "contiguous", to be read like any other file
FOLDER = b"5"
LINKS = frozenset({b"1", b"2"})
SPARSE = b"S"
SPECIAL = frozenset({b"3", b"4", b"6"})  # devices and FIFOs: like links, they never have content
LONG_NAME = b"L"
LONG_LINK = b"K"
PAX = b"x"
PAX_FOR_ALL = b"g"
EXTENSIONS = frozenset({LONG_NAME, LONG_LINK, PAX, PAX_FOR_ALL})

_PLAIN_BYTES = bytes(range(128))
_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,8}) ")
_NUMBER = re.compile(rb" *([0-7]*)[ \0]*")


class Malformed(Exception):
    """These bytes are no header of a tar file; the text says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header as it stands there; what it claims is unchecked.

    Attributes:
        kind: type flag, one byte.
        name: with its prefix, before any extension.
        link: where a link leads to, before any extension.
        size: bytes of content that follow, never negative.
    """

    kind: bytes
    name: bytes
    link: bytes
    size: int
    mode: int


def parse_header(block: bytes) -> Header:
    """Read one block. Raises `Malformed` where the checksum or a number is wrong."""
    if _number(block[_CHECKSUM]) not in _checksums(block):
        raise Malformed("the checksum of a header is wrong")
    name = _text(block[_NAME])
    if block[_MAGIC] == _POSIX_MAGIC and (prefix := _text(block[_PREFIX])):
        name = prefix + b"/" + name
    return Header(block[_TYPE], name, _text(block[_LINK]), _number(block[_SIZE]), _number(block[_MODE]))


def sparse_map_goes_on(block: bytes, *, is_header: bool) -> bool:
    """Whether one more block of a sparse file's map follows this header, or this block of the map."""
    return bool(block[_HAS_SPARSE_MAP if is_header else _HAS_MORE_SPARSE_MAP])


def parse_pax(content: bytes) -> Mapping[str, bytes]:
    """The records of a pax header, `LENGTH KEY=VALUE` lines; the last one of a key counts. Raises `Malformed`."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(content):
        length = _PAX_LENGTH.match(content, at)
        end = at + int(length[1]) if length else 0
        if length is None or not length.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            raise Malformed("a pax header is wrong")
        key, equals, value = content[length.end() : end - 1].partition(b"=")
        if not key or not equals:
            raise Malformed("a pax header is wrong")
        records[key.decode("utf-8", "surrogateescape")] = value
        at = end
    return records


def parse_decimal(text: bytes) -> int:
    """A number in a pax header. Raises `Malformed`."""
    if not re.fullmatch(rb"[0-9]{1,18}", text):
        raise Malformed("a size in a pax header is wrong")
    return int(text)


def _checksums(block: bytes) -> tuple[int, int]:
    """The sum of all bytes, the checksum's own taken as blanks; and as old tars that have signed bytes add up."""
    rest = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    unsigned = sum(rest)
    return unsigned, unsigned - 256 * len(rest.translate(None, _PLAIN_BYTES))


def _number(field: bytes) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    if not (digits := _NUMBER.fullmatch(field)):
        raise Malformed("a number in a header is wrong")
    return int(digits[1] or b"0", 8)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
