"""Tar and gzip files that lie, lead out, or do not end."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator

from tests.intake.hostile import Hostile
from tests.intake.hostile_zips import whole
from tests.intake.raw_tar import (
    BLOCK,
    CHARACTER,
    DISK,
    END,
    FOLDER,
    HARD_LINK,
    LINK,
    PIPE,
    base_256,
    header,
    long_name,
    member,
    pax,
    tar_bytes,
)  # fmt: skip

DOCKERFILE = member("Dockerfile", b"FROM scratch\nCOPY . /\n")
GOOD = tar_bytes(DOCKERFILE)
GZIPPED = gzip.compress(GOOD, mtime=0)
GZIP_ZEROS = 700 * 2**20


def tars() -> Iterator[Hostile]:
    yield from _kinds()
    yield from _extensions()
    yield from _numbers()
    yield from _ends()
    yield from _gzips()


def odd(title: str, *members: bytes, words: tuple[str, ...]) -> Hostile:
    """A good bundle but for these members."""
    return whole(title, tar_bytes(DOCKERFILE, *members), words=words, ending=".tar")


def _kinds() -> Iterator[Hostile]:
    for what, kind, leads in (("hard link", HARD_LINK, b"/etc/shadow"), ("hard link up", HARD_LINK, b"../../etc/passwd"),
                              ("hard link inside", HARD_LINK, b"Dockerfile"), ("link", LINK, b"/etc/passwd"),
                              ("link up", LINK, b"../../.."), ("link inside", LINK, b"Dockerfile")):  # fmt: skip
        yield odd(f"tar with a {what}", member("way", b"", kind, link=leads), words=("'way'", "link"))
    through = member("way", b"", LINK, link=b"/tmp")
    yield odd("tar with a file through a link", through, member("way/evil"), words=("'way'", "link"))
    yield odd("tar with a link that has content", member("way", b"abc", LINK, link=b"/etc"), words=("bundle",))
    yield odd("tar with a device", member("odd", b"", CHARACTER), words=("'odd'", "neither a file nor a folder"))
    yield odd("tar with a disk", member("odd", b"", DISK), words=("'odd'", "neither a file nor a folder"))
    yield odd("tar with a pipe", member("odd", b"", PIPE), words=("'odd'", "neither a file nor a folder"))
    yield odd("tar with a folder that has content", member("odd/", b"abc", FOLDER), words=("odd",))
    sparse = member("odd", b"", b"S", magic=b"ustar  \0")
    yield odd("tar with a sparse file", sparse, words=("'odd'", "sparse"))
    old = {"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0", "GNU.sparse.realsize": b"99999999999"}
    yield odd("tar with a sparse file as pax says it", pax(old), member("odd", b"1\n0\n1\n"), words=("sparse",))
    for kind in (b"V", b"M", b"D", b"N", b"A", b"\xff"):
        yield odd(f"tar with kind {kind!r}", member("odd", b"", kind), words=("odd",))


def _extensions() -> Iterator[Hostile]:
    yield odd("pax that renames to an absolute path", pax({"path": b"/etc/cron.d/evil"}), member("harmless"), words=("absolute",))  # fmt: skip
    yield odd("pax that renames upwards", pax({"path": b"../../evil"}), member("harmless"), words=("'..'",))
    yield odd("pax that renames to a name that is there", pax({"path": b"Dockerfile"}), member("harmless"), words=("there twice",))  # fmt: skip
    yield odd("pax for all that renames", pax({"path": b"../evil"}, b"g"), member("harmless"), words=("bundle",))
    yield odd("pax with a NUL in the path", pax({"path": b"a\0b"}), member("harmless"), words=("control",))
    yield odd("pax with bytes that are no text in the path", pax({"path": b"a\xff"}), member("harmless"), words=("'a",))
    yield odd("pax with a size that is larger", pax({"size": b"99999"}), member("a"), words=("bundle",))
    yield odd("pax with a size that is negative", pax({"size": b"-1"}), member("a"), words=("size",))
    yield odd("pax with a size of 400 digits", pax({"size": b"9" * 400}), member("a"), words=("size",))
    yield odd("pax with a size in hexadecimal", pax({"size": b"0x10"}), member("a"), words=("size",))
    hidden = pax({"size": b"0"}) + header("a", size=3 * BLOCK) + member("../hidden", b"x" * BLOCK)
    yield odd("pax that hides a member in another's content", hidden, words=("bundle",))
    for title, bytes_ in (("cut short", b"30 path=abc\n"), ("of negative length", b"-9 path=a\n"), ("without a length", b"path=a\n"),
                          ("without a key", b"6 =ab\n"), ("of zero length", b"0 path=a\n"), ("of 5000 digits", b"9" * 5000)):  # fmt: skip
        yield odd(f"pax record {title}", member("pax", bytes_, b"x"), member("a"), words=("pax",))
    yield odd("pax of ten megabytes", pax({"comment": b"x" * 10**7}), member("a"), words=("bundle",))
    yield odd("pax that nothing follows", pax({"path": b"a"}), words=("bundle",))
    yield odd("pax that leads a link out", pax({"linkpath": b"/etc/passwd"}), member("way", b"", LINK, link=b"a"), words=("link",))  # fmt: skip
    yield odd("long name that is absolute", long_name(b"/" + b"a/" * 60 + b"b"), member("harmless"), words=("absolute",))  # fmt: skip
    yield odd("long name that leads up", long_name(b"a/" * 60 + b"../" * 70 + b"b"), member("harmless"), words=("'..'",))  # fmt: skip
    yield odd("long name of a megabyte", long_name(b"a" * 2**20), member("harmless"), words=("bundle",))
    yield odd("long name that nothing follows", long_name(b"a" * 200), words=("bundle",))
    yield odd("prefix that leads up", member("evil", prefix=b"../.."), words=("'..'",))
    yield odd("prefix that is absolute", member("evil", prefix=b"/etc"), words=("absolute",))
    absolute = header("Dockerfile", size=0)
    yield odd("a second, empty Dockerfile", absolute, words=("'Dockerfile'", "there twice"))


def _numbers() -> Iterator[Hostile]:
    yield odd("negative size", member("a", b"", size=base_256(-512)), words=("bundle",))
    yield odd("size of eight exabytes", member("a", b"abc", size=base_256(2**63)), words=("bundle",))
    yield odd("size of all bits", member("a", b"abc", size=b"\xff" * 12), words=("bundle",))
    yield odd("size with a minus sign", member("a", b"abc", size=b"-0000000001\0"), words=("number",))
    yield odd("size in no digits", member("a", b"abc", size=b"hello world\0"), words=("number",))
    yield odd("size in digits that octal lacks", member("a", b"abc", size=b"00000000089\0"), words=("number",))
    yield odd("size larger than the file", member("a", b"abc", size=10**6), words=("bundle",))
    yield odd("size smaller than the content", header("a", size=1) + b"x" * 3 * BLOCK, words=("bundle",))
    yield odd("wrong checksum of a header", member("a", checksum=b"0000000\0"), words=("checksum",))
    yield odd("checksum of no digits", member("a", checksum=b"????????"), words=("bundle",))
    many = [member(f"a{n}", b"", size=2**33) for n in range(9)]
    yield odd("content of 72 gigabytes that is not there", *many, words=("bundle",))


def _ends() -> Iterator[Hostile]:
    yield whole("tar of no bytes", b"", words=("empty",), ending=".tar")
    yield whole("tar that is a text", b"hello " * 400, words=("no tar file",), ending=".tar")
    yield whole("tar of zeros alone", bytes(20 * BLOCK), words=("no file",), ending=".tar")
    yield whole("tar that is a zip", b"PK\3\4" + bytes(2000), words=("no tar file",), ending=".tar")
    yield whole("tar that is gzipped", GZIPPED + bytes(BLOCK), words=("no tar file",), ending=".tar")
    yield whole("half of a tar", GOOD[: BLOCK + 10], words=("half a copy",), ending=".tar")
    yield whole("tar without its last byte", GOOD[:-1], words=("half a copy",), ending=".tar")
    yield whole("tar without its end", GOOD[: -len(END)], words=("half a copy",), ending=".tar")
    yield whole("tar cut in a header", GOOD[:300], words=("bundle",), ending=".tar")
    yield whole("tar with a member behind its end", GOOD + member("../evil"), words=("foreign bytes",), ending=".tar")
    yield whole("tar with a tar behind its end", GOOD + tar_bytes(member("evil")), words=("foreign bytes",), ending=".tar")  # fmt: skip
    yield whole("tar with a text behind its end", GOOD + b"hello", words=("foreign bytes",), ending=".tar")
    one = tar_bytes(DOCKERFILE, bytes(BLOCK), member("hidden"))
    yield whole("tar with one empty block in its middle", one, words=("bundle",), ending=".tar")
    yield whole("tar with a script before", b"#!/bin/sh\n" + GOOD, words=("no tar file",), ending=".tar")


def _gzips() -> Iterator[Hostile]:
    def tgz(title: str, data: bytes, *words: str) -> Hostile:
        return whole(title, data, words=words, ending=".tar.gz")

    yield tgz("tgz of no bytes", b"", "empty")
    yield tgz("tgz that is a tar", GOOD, "no gzip file")
    yield tgz("tgz that is a zip", b"PK\3\4" + bytes(200), "no gzip file")
    yield tgz("tgz that is a bzip2", bz2.compress(GOOD), "no gzip file")
    yield tgz("tgz that is an xz", lzma.compress(GOOD), "no gzip file")
    yield tgz("tgz of a text", gzip.compress(b"hello " * 400), "no tar file")
    yield tgz("tgz of nothing", gzip.compress(b""), "bundle")
    yield tgz("tgz of its magic alone", b"\x1f\x8b", "half a copy")
    yield tgz("half of a tgz", GZIPPED[: len(GZIPPED) // 2], "half a copy")
    yield tgz("tgz without its checksum", GZIPPED[:-8], "half a copy")
    yield tgz("tgz with a wrong checksum", GZIPPED[:-8] + bytes(4) + GZIPPED[-4:], "damaged")
    yield tgz("tgz with a wrong length", GZIPPED[:-4] + b"\1\2\3\4", "damaged")
    yield tgz("tgz with nonsense in its middle", GZIPPED[:30] + b"\xff\xff\xff" + GZIPPED[33:], "bundle")
    yield tgz("tgz with bytes behind", GZIPPED + b"hello", "foreign bytes")
    yield tgz("tgz with a second tar behind", GZIPPED + gzip.compress(tar_bytes(member("../evil"))), "foreign bytes")
    yield tgz("tgz with an empty half behind", GZIPPED + GZIPPED[: len(GZIPPED) // 2], "half a copy")
    yield tgz("tgz in a tgz", gzip.compress(GZIPPED), "tar file")
    yield tgz("tgz bomb", _bomb(), "more than")
    yield tgz("tgz with a bomb of zeros behind its tar", GZIPPED + _bomb(), "more than")


def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(GZIP_ZEROS // 2**20)) + packer.flush()
