"""Zip files whose structure lies: sizes, checksums, offsets, ends, encryption, foreign bytes."""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Iterator

from tests.intake.hostile import Hostile
from tests.intake.raw_zip import DEFLATE, UTF8, Entry, zip_bytes

DOCKERFILE = Entry("Dockerfile", b"FROM scratch\nCOPY . /\n")
DESCRIPTOR = 0x8
GOOD = zip_bytes([DOCKERFILE])
ZEROS = 300 * 2**20


def odd(title: str, *entries: Entry, words: tuple[str, ...]) -> Hostile:
    """A good bundle but for these entries."""
    return whole(title, zip_bytes([DOCKERFILE, *entries]), words=words)


def whole(title: str, data: bytes, *, words: tuple[str, ...], ending: str = ".zip") -> Hostile:
    """A file of these bytes."""
    return Hostile(title, file_name(title) + ending, lambda path: path.write_bytes(data), words)


def file_name(title: str) -> str:
    """A plain file name; the checksum tells titles apart that differ only in signs."""
    plain = re.sub("[^a-z0-9]+", "-", title.lower())[:50]
    return f"{plain.strip('-')}-{zlib.crc32(title.encode()):08x}"


def deflated(size: int) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(deflater.compress(bytes(2**20)) for _ in range(size // 2**20)) + deflater.flush()


def descriptor(crc: int, packed: int, size: int) -> bytes:
    return struct.pack("<4sLLL", b"PK\7\x08", crc, packed, size)


def unicode_path(name: bytes, told: bytes) -> bytes:
    """An extra field that tells another name for `name` (APPNOTE.TXT 4.6.9)."""
    field = struct.pack("<BL", 1, zlib.crc32(name)) + told
    return struct.pack("<HH", 0x7075, len(field)) + field


def zips() -> Iterator[Hostile]:
    yield from _ends()
    yield from _sizes_and_sums()
    yield from _overlaps()
    yield from _kinds()


def _ends() -> Iterator[Hostile]:
    end = ("end of the zip",)
    two = zip_bytes([DOCKERFILE, Entry("a")])
    yield whole("zip of no bytes", b"", words=("empty",))
    yield whole("zip that is a text", b"hello " * 100, words=("no zip file",))
    yield whole("zip that is a script", b"#!/bin/sh\nrm -rf /\n", words=("no zip file",))
    yield whole("zip that is a PDF", b"%PDF-1.7\n" + bytes(500), words=("no zip file",))
    yield whole("zip that is all zeros", bytes(5000), words=("no zip file",))
    yield whole("zip that is a gzip", b"\x1f\x8b\x08" + bytes(200), words=("no zip file",))
    yield whole("zip that is a RAR", b"Rar!\x1a\x07\x00" + bytes(200), words=("no zip file",))
    yield whole("zip of a local header alone", b"PK\3\4", words=end)
    yield whole("half of a zip", GOOD[: len(GOOD) // 2], words=end)
    yield whole("zip without its last byte", GOOD[:-1], words=end)
    yield whole("zip without its end record", GOOD[:-22], words=end)
    yield whole("zip with zeros behind", GOOD + bytes(512), words=("foreign bytes",))
    yield whole("zip with a script behind", GOOD + b"\n#!/bin/sh\n", words=("foreign bytes",))
    yield whole("zip with a second zip behind", GOOD + GOOD, words=("bundle",))
    yield whole("zip with a script before", b"#!/bin/sh\nexit\n" + GOOD, words=("foreign bytes before",))
    yield whole(
        "zip with accounted bytes before", zip_bytes([DOCKERFILE], before=b"MZ" + bytes(200)), words=("foreign bytes",)
    )
    yield whole("zip before a zip, offsets of the second", GOOD + zip_bytes([Entry("b")]), words=("bundle",))
    yield whole("zip with a gap before its table", zip_bytes([DOCKERFILE], gap=b"hidden" * 9), words=("bytes",))
    hidden = zip_bytes([DOCKERFILE, Entry("hidden", is_listed=False), Entry("a")])
    yield whole("zip with an entry that its table hides", hidden, words=("bytes",))
    yield whole("zip with a zip in its comment", zip_bytes([DOCKERFILE], comment=GOOD), words=("bundle",))
    yield whole("zip with an end record in its comment", zip_bytes([DOCKERFILE], comment=GOOD[-22:]), words=("bundle",))
    yield whole("zip that claims a longer comment", zip_bytes([DOCKERFILE], comment_bytes=9), words=("end",))
    yield whole("zip that claims a shorter comment", zip_bytes([DOCKERFILE], comment=b"abc", comment_bytes=1), words=("foreign",))  # fmt: skip
    yield whole("zip that counts one entry more", zip_bytes([DOCKERFILE], count=2, here=2), words=("entries",))
    yield whole("zip that counts one entry less", zip_bytes([DOCKERFILE, Entry("a")], count=1, here=1), words=("entries",))  # fmt: skip
    yield whole("zip of several disks", zip_bytes([DOCKERFILE], disk=1, table_disk=1), words=("disk",))
    elsewhere = Entry("Dockerfile", b"FROM scratch\n", central={"disk": 3})
    yield whole("zip whose entry is on another disk", zip_bytes([elsewhere]), words=("disk",))  # fmt: skip
    yield whole("zip whose table lies further on", zip_bytes([DOCKERFILE], table_at=2**20), words=("table",))
    yield whole("zip whose table is longer", zip_bytes([DOCKERFILE], table_bytes=2**20), words=("table",))
    yield whole("zip whose table is too short", zip_bytes([DOCKERFILE, Entry("a")], table_bytes=10), words=("table",))
    yield whole("zip whose table is nonsense", GOOD.replace(b"PK\1\2", b"PK\1\3"), words=("bundle",))
    yield whole("zip whose table is another's", two.replace(b"PK\1\2", b"PK\3\4"), words=("bundle",))
    for field, value in (("count", 2**40), ("table_at", 2**62), ("table_bytes", 2**62), ("table_at", 1)):
        data = zip_bytes([DOCKERFILE], zip64={field: value}, count=0xFFFF, here=0xFFFF, table_at=0xFFFFFFFF)
        yield whole(f"zip64 with {field} of {value}", data, words=("bundle",))
    data = zip_bytes([DOCKERFILE], zip64={"locator_at": 5}, count=0xFFFF, here=0xFFFF)
    yield whole("zip64 whose locator points elsewhere", data, words=("bundle",))
    data = zip_bytes([DOCKERFILE], zip64={"record_bytes": 2**33}, count=0xFFFF, here=0xFFFF)
    yield whole("zip64 with an endless record", data, words=("bundle",))
    yield whole("zip64 that is promised but missing", zip_bytes([DOCKERFILE], count=0xFFFF, here=0xFFFF), words=("bundle",))  # fmt: skip
    data = zip_bytes([DOCKERFILE, Entry("b")], zip64={"count": 1, "here": 1})
    yield whole("zip64 that contradicts the plain end", data, words=("bundle",))


def _sizes_and_sums() -> Iterator[Hostile]:
    yield odd("wrong checksum in both headers", Entry("a", b"abc", local={"crc": 1}, central={"crc": 1}), words=("'a'", "damaged"))  # fmt: skip
    yield odd("wrong checksum in the local header", Entry("a", b"abc", local={"crc": 1}), words=("'a'",))
    yield odd("size too small in the table", Entry("a", b"abc" * 9, DEFLATE, central={"size": 3}), words=("'a'",))
    yield odd("size too small in both headers", Entry("a", b"abc" * 9, DEFLATE, central={"size": 3}, local={"size": 3}), words=("'a'",))  # fmt: skip
    yield odd("size too large in the table", Entry("a", b"abc", DEFLATE, central={"size": 300}), words=("'a'",))
    yield odd("size too small in the local header", Entry("a", b"abc" * 9, DEFLATE, local={"size": 3}), words=("'a'",))
    yield odd("packed size too small in the local header", Entry("a", b"abc" * 9, DEFLATE, local={"packed": 1}), words=("'a'",))  # fmt: skip
    yield odd("packed size too small", Entry("a", b"abc" * 9, DEFLATE, central={"packed": 2}, local={"packed": 2}), words=("'a'",))  # fmt: skip
    yield odd("packed size beyond the file", Entry("a", b"abc", central={"packed": 2**31}), words=("'a'", "overlap"))
    yield odd("stored size unlike packed size", Entry("a", b"abc", central={"size": 2}, local={"size": 2}), words=("'a'",))  # fmt: skip
    yield odd("size of four gigabytes less one", Entry("a", b"abc", central={"size": 0xFFFFFFFE}), words=("unpacks",))
    yield odd("size that needs zip64 without it", Entry("a", b"abc", central={"size": 0xFFFFFFFF}), words=("bundle",))
    huge = struct.pack("<HHQ", 1, 8, 2**60)
    yield odd("zip64 size beyond all disks", Entry("a", b"abc", central={"size": 0xFFFFFFFF, "extra": huge}), words=("bytes", "allowed"))  # fmt: skip
    yield odd("zip64 extra field cut short", Entry("a", b"abc", central={"size": 0xFFFFFFFF, "extra": huge[:7]}), words=("bundle",))  # fmt: skip
    yield odd("extra field longer than itself", Entry("a", b"abc", central={"extra": b"\1\0\xff\xff"}), words=("bundle",))  # fmt: skip
    truth = descriptor(zlib.crc32(b"abc"), 3, 3)
    for field, words in (("crc", "checksum"), ("packed", "sizes"), ("size", "sizes")):
        lying = Entry("a", b"abc", flags=UTF8 | DESCRIPTOR, local={field: 7}, after=truth)
        yield odd(f"{field} that lies before an honest descriptor", lying, words=("'a'", words))
    yield odd("bytes hidden in a folder", Entry("d/", b"", mode=stat.S_IFDIR | 0o755, packed=b"hidden"), words=("'d/'", "bytes"))  # fmt: skip
    yield whole("name that reaches beyond the table", GOOD[: GOOD.rfind(b"PK\1\2") + 28] + b"\x0b" + GOOD[GOOD.rfind(b"PK\1\2") + 29 :], words=("table of contents",))  # fmt: skip
    for title, told in (("that leads out", b"../evil"), ("of another file", b"Dockerfile")):
        yield odd(f"Unicode path {title}", Entry("a", central={"extra": unicode_path(b"a", told)}), words=("'a'", "two names"))  # fmt: skip
    out = Entry("a", flags=0, central={"extra": unicode_path(b"a", "../\u00e9".encode())})
    yield odd("Unicode path with accents that leads out", out, words=("'..' leads out",))
    yield odd("deflate of nonsense", Entry("a", b"abc", DEFLATE, packed=b"\xff" * 20), words=("'a'", "damaged"))
    yield odd("deflate that never ends", Entry("a", b"abc" * 99, DEFLATE, packed=b"\x00\x20\x00\xdf\xff"), words=("'a'",))  # fmt: skip
    extra = Entry("a", b"abc", DEFLATE).content + b"hidden"
    yield odd("bytes hidden behind a deflate stream", Entry("a", b"abc", DEFLATE, packed=extra), words=("'a'",))
    bomb = deflated(ZEROS)
    crc = 0
    for _ in range(ZEROS // 2**20):
        crc = zlib.crc32(bytes(2**20), crc)
    lies: dict[str, int | bytes] = {"size": 10, "crc": zlib.crc32(bytes(10))}
    yield odd("bomb that claims ten bytes", Entry("a", b"", DEFLATE, packed=bomb, local=lies, central=lies), words=("'a'",))  # fmt: skip
    lies = {"size": 2**31, "crc": crc}
    many = [Entry(f"a{n}", b"", DEFLATE, packed=bomb, local=lies, central=lies) for n in range(26)]
    yield odd("bomb that says how large it is", *many, words=("unpacks", "allowed"))
    streamed = Entry("a", b"abc", DEFLATE, UTF8 | DESCRIPTOR, local={"crc": 0, "size": 0, "packed": 0})
    data = zip_bytes([DOCKERFILE, replace_after(streamed, descriptor(7, 5, 999))])
    yield whole("data descriptor that lies", data, words=("'a'",))
    yield whole("data descriptor that is missing", zip_bytes([DOCKERFILE, streamed]), words=("'a'",))


def replace_after(entry: Entry, after: bytes) -> Entry:
    return Entry(entry.name, entry.data, entry.method, entry.flags, local=entry.local, after=after)


def _overlaps() -> Iterator[Hostile]:
    kernel = Entry("kernel", bytes(5000), DEFLATE)
    at = len(DOCKERFILE.local_part())
    yield odd("two entries of one content", kernel, Entry("again", bytes(5000), DEFLATE, offset=at), words=("'again'",))
    yield odd("an entry that points into the table", Entry("a", offset=at + 20), words=("'a'",))
    yield odd("an entry that points past the end", Entry("a", offset=2**31), words=("bundle",))
    yield odd("an entry that points at another's header", Entry("a", b"FROM scratch\nCOPY . /\n", offset=0), words=("'a'",))  # fmt: skip
    quoting = Entry("outer", Entry("inner", b"abc").local_part())
    inner = Entry("inner", b"abc", offset=at + 30 + len("outer"), packed=b"abc")
    yield odd("an entry quoted within another", quoting, inner, words=("'",))
    table_in_content = Entry("quoted", zip_bytes([Entry("evil")]))
    shifted = zip_bytes([DOCKERFILE, table_in_content], table_at=at + 36 + 34)
    yield whole("table of contents quoted in an entry", shifted, words=("table",))


def _kinds() -> Iterator[Hostile]:
    link = stat.S_IFLNK | 0o777
    yield odd("link to a password file", Entry("passwd", b"/etc/passwd", mode=link), words=("'passwd'", "link"))
    yield odd("link out of the bundle", Entry("up", b"../..", mode=link), words=("'up'", "link"))
    yield odd("link to a neighbour", Entry("b", b"Dockerfile", mode=link), words=("'b'", "link"))
    yield odd("link that a file goes through", Entry("d", b"/etc", mode=link), Entry("d/cron"), words=("'d'", "link"))
    yield odd("link from a Mac", Entry("mac", b"/etc/passwd", mode=link, made_on=19), words=("'mac'", "link"))
    for kind, mode in (("pipe", stat.S_IFIFO), ("device", stat.S_IFCHR), ("disk", stat.S_IFBLK), ("socket", stat.S_IFSOCK)):  # fmt: skip
        yield odd(f"a {kind}", Entry("odd", b"", mode=mode | 0o666), words=("'odd'", "neither a file nor a folder"))
    yield odd("folder with content", Entry("folder/", b"content"), words=("'folder/'",))
    yield odd("file with a folder's mode", Entry("folder", b"content", mode=stat.S_IFDIR | 0o755), words=("'folder'",))
    for flag, what in ((1, "by password"), (0x41, "strongly"), (0x2000, "in its headers")):
        yield odd(f"encrypted {what}", Entry("secret", bytes(20), flags=UTF8 | flag), words=("'secret'", "encrypted"))
    yield odd("difference to another file", Entry("p", bytes(9), flags=UTF8 | 0x20), words=("'p'", "compression"))
    for method in (1, 6, 9, 12, 14, 93, 95, 98, 99, 0xFFFF):
        yield odd(f"compression {method}", Entry("packed", bytes(20), method), words=("'packed'", str(method)))
    yield odd("two methods for one entry", Entry("a", b"abc", local={"method": 12}), words=("'a'",))
    yield odd("two names for one entry", Entry("a", b"abc", local={"name": b"b"}), words=("'a'",))
    yield odd("same length, another name inside", Entry("good.txt", local={"name": b"../../ev"}), words=("'good.txt'",))
    yield odd("encrypted only in its own header", Entry("a", b"abc", local={"flags": UTF8 | 1}), words=("'a'",))
