"""Zip files byte by byte, so that every field can lie (PKWARE's APPNOTE.TXT 6.3; section numbers in brackets)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from stat import S_IFREG

_LOCAL = struct.Struct("<4s5H3L2H")  # [4.3.7]
_CENTRAL = struct.Struct("<4s6H3L5H2L")  # [4.3.12]
_END = struct.Struct("<4s4H2LH")  # [4.3.16]
_END64 = struct.Struct("<4sQ2H2L4Q")  # [4.3.14]
_LOCATOR = struct.Struct("<4sLQL")  # [4.3.15]
_DATE = 0x5021  # 2020-01-01
UTF8 = 0x800
STORE, DEFLATE = 0, 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `local` and `central` replace fields of one of its two headers, which else agree and tell the truth.

    Attributes:
        packed: the bytes that lie in the file, where they are not `data` under `method`.
        after: bytes that follow the packed ones, such as a data descriptor.
        offset: where the table of contents says that the local header is, if not where it is.
    """

    name: str | bytes
    data: bytes = b"x"
    method: int = STORE
    flags: int = UTF8
    mode: int = S_IFREG | 0o644
    made_on: int = 3  # Unix
    local: dict[str, int | bytes] = field(default_factory=dict)
    central: dict[str, int | bytes] = field(default_factory=dict)
    packed: bytes | None = None
    after: bytes = b""
    offset: int | None = None
    is_listed: bool = True

    @property
    def content(self) -> bytes:
        if self.packed is not None:
            return self.packed
        if self.method != DEFLATE:
            return self.data
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        return deflater.compress(self.data) + deflater.flush()

    def local_part(self) -> bytes:
        f = self._fields() | self.local
        head = _LOCAL.pack(
            b"PK\3\4", f["need"], f["flags"], f["method"], 0, _DATE, f["crc"], f["packed"], f["size"],
            len(f["name"]), len(f["extra"]),
        )  # fmt: skip
        return head + f["name"] + f["extra"] + self.content + self.after

    def central_part(self, offset: int) -> bytes:
        f = self._fields() | self.central
        at = offset if self.offset is None else self.offset
        head = _CENTRAL.pack(
            b"PK\1\2", f["need"] | f["made_on"] << 8, f["need"], f["flags"], f["method"], 0, _DATE, f["crc"],
            f["packed"], f["size"], len(f["name"]), len(f["extra"]), 0, f["disk"], 0, f["attributes"], at,
        )  # fmt: skip
        return head + f["name"] + f["extra"]

    def _fields(self) -> dict:  # type: ignore[type-arg]  # numbers and bytes, each to its place in the header
        name = self.name if isinstance(self.name, bytes) else self.name.encode("utf-8", "surrogatepass")
        return {
            "need": 20,
            "made_on": self.made_on,
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.data),
            "packed": len(self.content),
            "size": len(self.data),
            "name": name,
            "extra": b"",
            "disk": 0,
            "attributes": self.mode << 16,
        }


def zip_bytes(
    entries: Sequence[Entry],
    *,
    before: bytes = b"",
    gap: bytes = b"",
    comment: bytes = b"",
    after: bytes = b"",
    zip64: dict[str, int] | None = None,
    **end: int,
) -> bytes:
    """A whole zip file.

    Args:
        before: foreign bytes at the start, for which the offsets account.
        gap: foreign bytes between the entries and the table of contents.
        zip64: fields of the zip64 end record that lie; `{}` writes an honest one, None none.
        end: fields of the end record that lie: `disk`, `table_disk`, `here`, `count`, `table_bytes`, `table_at`,
            `comment_bytes`.
    """
    body, table = bytearray(before), b""
    for entry in entries:
        if entry.is_listed:
            table += entry.central_part(len(body))
        body += entry.local_part()
    body += gap
    at, count = len(body), sum(entry.is_listed for entry in entries)
    body += table
    truth = {"disk": 0, "table_disk": 0, "here": count, "count": count, "table_bytes": len(table), "table_at": at}
    if zip64 is not None:
        f = truth | {"locator_at": len(body), "record_bytes": 44} | zip64
        body += _END64.pack(b"PK\6\6", f["record_bytes"], 45, 45, f["disk"], f["table_disk"], f["here"], f["count"],
                            f["table_bytes"], f["table_at"])  # fmt: skip
        body += _LOCATOR.pack(b"PK\6\7", 0, f["locator_at"], 1)
    f = truth | {"comment_bytes": len(comment)} | end
    body += _END.pack(b"PK\5\6", f["disk"], f["table_disk"], f["here"], f["count"], f["table_bytes"], f["table_at"],
                      f["comment_bytes"])  # fmt: skip
    return bytes(body) + comment + after
